"""`zoo.doctor`: what is broken is found, and nothing is told that should not leave the machine."""

import json
import shutil
from pathlib import Path

import pytest

from zoo import doctor
from zoo.backend.asking import Answer, ask
from zoo.data.appending import NOTE
from zoo.data.sources import Origin, cache_folder, fetch
from zoo.data.sources.request import Request

GOOD = Answer(seconds=1.5, version="1.2.3", device="cpu", precisions=["float32"])


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> dict[str, Answer]:
    """What backends answer, and no process is started."""
    answers = dict.fromkeys(("jax", "tensorflow", "torch"), GOOD)
    monkeypatch.setattr(doctor, "ask", answers.__getitem__)
    return answers


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: None) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_sound_machine(
    home: Path,
    backends: dict[str, Answer],
    served: tuple[Origin, list[Request]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fetch(served[0])
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/x --key=hf_abcdefghijklmnop")
    monkeypatch.setenv("HF_TOKEN", "hf_qrstuvwxyzabcdef")
    assert doctor.main([]) == 0
    out, err = capsys.readouterr()
    assert "1.2.3 on cpu, in float32" in out
    assert "https://example.invalid/a.csv): " in out
    assert ", sound" in out
    assert "cache     ~/cache: " in out
    assert not any(secret in out + err for secret in (str(home), "hf_", "HF_TOKEN"))


def test_what_is_broken(
    home: Path,
    backends: dict[str, Answer],
    served: tuple[Origin, list[Request]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = fetch(served[0])
    (folder / "a.csv").write_bytes(b"wrong")
    incoming = folder / ".incoming"
    incoming.mkdir()
    (incoming / "b.csv").write_bytes(b"half of")
    other = folder.with_name("https-other-01234567")
    other.mkdir()
    (other / "stamp.json").write_text("{")
    tables = cache_folder() / "tokens"
    (tables / "0").mkdir(parents=True)
    (tables / "0" / NOTE).write_bytes(b"no JSON")
    backends["torch"] = Answer(seconds=2.0, fault=f"ImportError: {home}/libtorch.so is not there")
    assert doctor.main([]) == 4
    out, err = capsys.readouterr()
    assert "torch     does not work" in out
    assert "7 bytes of downloads have not ended" in out
    assert "4 errors:" in err
    for told in (
        "a.csv has the SHA-256",
        "other-01234567/stamp.json",
        "tokens/0 is damaged",
        "ImportError: ~/libtorch.so",
    ):
        assert told in err
    assert str(home) not in out + err
    # The same for programs; and a folder that is gone is no fault of the cache.
    assert doctor.main(["--format", "json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], len(found["faults"]), found["backends"]["jax"]["device"]) == (False, 4, "cpu")
    shutil.rmtree(cache_folder())
    backends["torch"] = GOOD
    assert doctor.main(["--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["parts"] == []


def test_a_backend_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A good answer is looked at where backends are, in tests/on_backend."""
    fault = ask("none").fault
    assert fault is not None
    assert "KERAS_BACKEND is 'none'" in fault
    assert ask("torch", patience=0.01).fault == "no answer within 0 s"
    monkeypatch.setattr("zoo.backend.asking.QUESTION", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert ask("torch").fault == "its process died of SIGSEGV"
