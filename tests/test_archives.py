"""Archives: only plain files that stay inside, and no bombs."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from zoo.data.sources import archives
from zoo.errors import EnvironmentFault


def zipped(members: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def link_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return path


def tarred(path: Path, **fields: object) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("a.csv")
        info.size = 4
        for key, value in fields.items():
            setattr(info, key, value)
        archive.addfile(info, io.BytesIO(b"rows") if info.isfile() else None)
    return path


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda p: zipped({"../a.csv": b""}, p / "t.zip"), "leaves its folder"),
        (lambda p: zipped({"/a.csv": b""}, p / "t.zip"), "leaves its folder"),
        (lambda p: link_zip(p / "t.zip"), "link"),
        (lambda p: tarred(p / "t.tar.gz", name="../a.csv"), "leaves its folder"),
        (lambda p: tarred(p / "t.tar.gz", name="/a.csv"), "leaves its folder"),
        (lambda p: tarred(p / "t.tar.gz", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "link"),
        (lambda p: tarred(p / "t.tar.gz", type=tarfile.LNKTYPE, linkname="x"), "link"),
        (lambda p: tarred(p / "t.tar.gz", type=tarfile.FIFOTYPE), "device"),
    ],
)
def test_archives_that_reach_out_are_refused_before_anything_is_written(make, why: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    target = tmp_path / "out"
    with pytest.raises(EnvironmentFault, match=why):
        archives.extract(make(tmp_path), "", lambda name: True, target)
    assert not target.exists()


def test_bombs_are_refused_by_their_header_and_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_RATIO_FROM", 1 << 10)
    bomb = zipped({"a.csv": b"0" * (8 << 20)}, tmp_path / "t.zip")
    with pytest.raises(EnvironmentFault, match="unpacks to 8,388,608 bytes"):
        archives.extract(bomb, "", lambda name: True, tmp_path / "out")
    many = zipped({f"{number}.csv": b"0" * 900_000 for number in range(40)}, tmp_path / "m.zip")
    monkeypatch.setattr(archives, "MAX_RATIO", 30)
    with pytest.raises(EnvironmentFault, match="unpacks to"):
        archives.extract(many, "", lambda name: True, tmp_path / "out")
    liar = bytearray(zipped({"a.csv": b"0" * (8 << 20)}, tmp_path / "l.zip").read_bytes())
    real, small = (8 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")
    (tmp_path / "l.zip").write_bytes(bytes(liar).replace(real, small))
    with pytest.raises(EnvironmentFault, match=r"unpacks to|not a readable archive"):
        archives.extract(tmp_path / "l.zip", "", lambda name: True, tmp_path / "out")


def test_what_is_not_wanted_is_no_bomb_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To find the next member of a tar the one before is unpacked, and its long names are taken into memory."""
    monkeypatch.setattr(archives, "_RATIO_FROM", 1 << 10)
    bomb, named = tmp_path / "bomb.tar.gz", tmp_path / "named.tar.gz"
    with tarfile.open(bomb, "w:gz") as archive:
        info = tarfile.TarInfo("unwanted")
        info.size = 8 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(EnvironmentFault, match="unpack to more than is taken"):
        archives.extract(bomb, "", lambda name: name == "a.csv", tmp_path / "out")
    with tarfile.open(named, "w:gz", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("n" * (2 << 20)))
    with pytest.raises(EnvironmentFault, match="a record of 2,097,664 bytes about a member"):
        archives.extract(named, "", lambda name: True, tmp_path / "out")
    for path in (zipped({f"{number}": b"" for number in range(9)}, tmp_path / "t.zip"), tarred(tmp_path / "t.tar")):
        monkeypatch.setattr(archives, "MAX_MEMBERS", 8 if path.suffix == ".zip" else 0)
        with pytest.raises(EnvironmentFault, match=r"more than \d members"):
            archives.extract(path, "", lambda name: True, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tar_archive_is_read_and_a_cut_one_refused(tmp_path: Path) -> None:
    whole = tarred(tmp_path / "t.tar.gz")
    assert archives.extract(whole, "", lambda name: True, tmp_path / "out") == ["a.csv"]
    assert (tmp_path / "out" / "a.csv").read_bytes() == b"rows"
    whole.write_bytes(whole.read_bytes()[:40])
    with pytest.raises(EnvironmentFault, match="fetch it again"):
        archives.extract(whole, "", lambda name: True, tmp_path / "out")
    (tmp_path / "t.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(EnvironmentFault, match="fetch it again"):
        archives.extract(tmp_path / "t.zip", "", lambda name: True, tmp_path / "out")
