"""The hubs, by stand-ins: what is asked of them, and what becomes of their errors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from zoo.data import sources
from zoo.data.sources import Origin, address, fetch, hub, locate
from zoo.data.sources.origin import FRAMEWORKS
from zoo.data.sources.request import Unreachable
from zoo.errors import EnvironmentFault


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def test_an_open_revision_is_resolved_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[str, str | None]] = []
    commits = iter(["1" * 40, "2" * 40])

    class Hub:
        def repo_info(self, name: str, *, repo_type: str, revision: str | None, timeout: float) -> object:
            asked.append((repo_type, revision))
            return type("Info", (), {"sha": revision or next(commits)})()

        def list_repo_files(self, name: str, *, repo_type: str, revision: str) -> list[str]:
            return ["config.json", "pytorch_model.bin", "onnx/config.json", "model.safetensors"]

    def download(name: str, file: str, *, revision: str, **_: object) -> str:
        path = tmp_path / "theirs" / revision / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{file} at {revision}")
        return str(path)

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    origin = Origin(uri="hf://org/model", patterns=("config.json", "*.safetensors"))
    assert locate(origin) is None
    folder = fetch(origin)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "stamp.json"}
    assert sources.recorded(origin)[0] == "1" * 40
    (folder / "config.json").unlink()
    assert locate(origin) is None, "a file that belongs to it is gone"
    fetch(origin)
    assert (folder / "config.json").read_text() == f"config.json at {'1' * 40}", "main moved on, the cache did not"
    assert asked == [("model", None), ("model", "1" * 40)]


def test_what_the_hubs_own_cache_has_is_taken_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    commit = "3" * 40
    snapshot = tmp_path / "hub" / "models--org--model" / "snapshots" / commit
    blobs = snapshot.parents[1] / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (blobs / name).write_text(f"{name} of others")
        (snapshot / name).symlink_to(blobs / name)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: pytest.fail("the network was asked"))
    good = hashlib.sha256(b"config.json of others").hexdigest()
    origin = Origin(uri=f"hf://org/model@{commit}", files={"config.json": good, "model.safetensors": None})
    folder = fetch(origin)
    assert (folder / "config.json").read_text() == "config.json of others"
    assert (folder / "config.json").stat().st_ino == (blobs / "config.json").stat().st_ino, "it is the same file"
    (blobs / "config.json").write_text("damaged")
    repaired = tmp_path / "repaired"
    repaired.write_text("config.json of others")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **options: str(repaired))
    (folder / "config.json").unlink()
    assert (fetch(origin) / "config.json").read_text() == "config.json of others", "theirs was damaged"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("GatedRepoError", "is gated: accept its terms"),
        ("RepositoryNotFoundError", "does not exist, or is private"),
        ("RevisionNotFoundError", "no such revision"),
        ("HfHubHTTPError", "the hub is tired"),
        ("OfflineModeIsEnabled", "the hub is tired"),
    ],
)
def test_errors_of_the_hub_become_one_sentence(name: str, why: str) -> None:
    from huggingface_hub import errors

    kind = getattr(errors, name)
    error = kind.__new__(kind)
    error.args = ("the hub is tired\nand tells it at length",)
    monkey = type(name, (kind,), {"__init__": lambda self: None, "__str__": lambda self: "the hub is tired\nlong"})
    with pytest.raises(Unreachable, match=why), hub._plain_errors("hf://a/b"):
        raise monkey()


def test_a_kaggle_model_is_taken_from_kagglehubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import kagglehub

    theirs = tmp_path / "kagglehub"
    (theirs / "assets").mkdir(parents=True)
    (theirs / "config.json").write_text("{}")
    (theirs / "assets" / "vocabulary.txt").write_text("[PAD]\n")
    monkeypatch.setattr(kagglehub, "model_download", lambda handle, path=None: str(theirs / path if path else theirs))
    named = Origin(uri="kaggle://keras/bert/keras/tiny/3", files={"config.json": None, "assets/vocabulary.txt": None})
    assert (fetch(named) / "assets" / "vocabulary.txt").read_text() == "[PAD]\n"
    found = Origin(uri="kaggle://keras/bert/keras/tiny/4", patterns=("config.json",))
    assert {path.name for path in fetch(found).iterdir()} == {"config.json", "stamp.json"}
    assert (theirs / "config.json").exists(), "their cache stays whole"
    with pytest.raises(EnvironmentFault, match="has no version"):
        fetch(Origin(uri="kaggle://keras/bert/keras/tiny", patterns=("config.json",)))


@pytest.mark.parametrize("wanted", [{"files": {"config.json": None}}, {"patterns": ("config.json",)}])
def test_kagglehubs_own_copy_may_be_the_damaged_one(
    wanted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache has a hard link to it."""
    import kagglehub

    theirs = tmp_path / "kagglehub" / "config.json"
    theirs.parent.mkdir()
    theirs.write_text("{}")
    forced: list[str] = []

    def download(handle: str, path: str | None = None, force_download: bool = False) -> str:
        if force_download:
            forced.append(str(path))
            theirs.unlink()
            theirs.write_text("{}")
        return str(theirs if path else theirs.parent)

    monkeypatch.setattr(kagglehub, "model_download", download)
    origin = Origin(uri="kaggle://keras/bert/keras/tiny/5", **wanted)
    ours = fetch(origin) / "config.json"
    assert forced == []
    theirs.write_text("[]")
    assert ours.read_text() == "[]"
    assert (fetch(origin) / "config.json").read_text() == "{}"
    assert forced == ["config.json"]


def test_a_kaggle_model_behind_a_login_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import kagglehub
    from kagglehub.exceptions import UnauthenticatedError

    def refuse(handle: str, path: str | None = None) -> str:
        raise UnauthenticatedError()

    monkeypatch.setattr(kagglehub, "model_download", refuse)
    with pytest.raises(EnvironmentFault, match="set KAGGLE_API_TOKEN"):
        fetch(Origin(uri="kaggle://keras/bert/keras/tiny/3", files={"config.json": None}))


def test_our_names_are_names_to_the_hubs() -> None:
    from huggingface_hub.utils import validate_repo_id
    from kagglehub.handle import parse_model_handle

    for framework in FRAMEWORKS:
        assert parse_model_handle(f"a/b/{framework}/d/1").framework_enum()
    for name in ("org/name", "_a/b_", "Org-1/na.me-2", "a" * 96 + "/b"):
        assert address(f"hf://{name}").name == name
        validate_repo_id(name)
