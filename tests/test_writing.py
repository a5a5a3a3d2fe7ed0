"""A file or a folder is there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest

from zoo.data.writing import _umask, write_atomically, write_folder
from zoo.errors import OutputError


def test_written_whole_into_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    with write_atomically(path) as stream:
        stream.write(b"one")
        stream.flush()
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert os.listdir(path.parent) == ["file.bin"]


def test_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with write_atomically(path) as stream:
        stream.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is synchronised and renamed, in order; a temporary name without its random part."""
    made: list[tuple[str, str]] = []
    sync, replace = os.fsync, os.replace

    def plain(path: str) -> str:
        return Path(path).name.split(".")[1] if path.endswith(".partial") else Path(path).name

    def fsync(number: int) -> None:
        made.append(("sync", plain(os.readlink(f"/proc/self/fd/{number}"))))
        sync(number)

    def renamed(source: str | Path, target: str | Path) -> None:
        made.append(("rename", Path(target).name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renamed)
    return made


def test_a_file_and_its_name_are_on_the_disk(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    """The bytes before the name, and the name before the call returns; so for a new folder on the way."""
    with write_atomically(tmp_path / "new" / "file") as stream:
        stream.write(b"x")
    assert calls == [("sync", tmp_path.name), ("sync", "file"), ("rename", "file"), ("sync", "new")]


def test_a_folder_and_its_name_are_on_the_disk(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    with write_folder(tmp_path / "folder") as folder, write_atomically(folder / "file") as stream:
        stream.write(b"x")
    file = [("sync", "file"), ("rename", "file"), ("sync", "folder")]
    assert calls == [*file, ("rename", "folder"), ("sync", tmp_path.name)]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EACCES, errno.EIO])
def test_a_file_system_that_cannot_promise_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(handle: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{handle}")).is_dir():
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    refused = pytest.raises(OSError, match="Input/output") if number == errno.EIO else contextlib.nullcontext()
    with refused, write_atomically(tmp_path / "file") as stream:
        stream.write(b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write() -> None:
        with write_atomically(path) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_nothing_is_left_when_the_place_cannot_be_taken(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OSError, match="folder"), write_atomically(path) as stream:
        stream.write(b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_others_may_read_it_as_far_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with write_atomically(tmp_path / "file") as stream:
            stream.write(b"x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_folder_is_seen_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with write_folder(path) as folder:
        (folder / "file").write_bytes(b"one")
        assert not path.exists()
    assert (path / "file").read_bytes() == b"one"
    assert os.listdir(path.parent) == ["b"]
    assert path.stat().st_mode & 0o777 == 0o777 & ~_umask()


def test_a_folder_takes_the_place_of_an_empty_one_only(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with write_folder(path) as folder:
        (folder / "file").write_bytes(b"one")
    with pytest.raises(OutputError, match=r"folder is not empty \(it holds file\): choose another --out"):
        write_folder(path).__enter__()
    with pytest.raises(OutputError, match="file is a file, expected a folder"):
        write_folder(path / "file").__enter__()
    assert (path / "file").read_bytes() == b"one"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_no_folder_is_left_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "mine").mkdir()

    def write() -> None:
        with write_folder(tmp_path / "mine" / "a" / "b") as folder:
            (folder / "half").write_bytes(b"half")
            raise error

    with pytest.raises(error):
        write()
    assert os.listdir(tmp_path / "mine") == []
