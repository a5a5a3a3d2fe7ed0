"""The command that takes up a stopped run, as it is told."""

import os
from pathlib import Path

import pytest

from zoo.runs.resuming import resuming


def test_the_command_that_goes_on_names_this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make quickstart` runs in .venv, where nobody need have activated it."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(programs / "python"))
    monkeypatch.chdir(tmp_path)
    found = []
    for path, place in (("/nowhere", tmp_path), (str(programs), tmp_path), ("/nowhere", programs / "..")):
        monkeypatch.setenv("PATH", path)
        os.chdir(place)
        found.append(resuming(Path("a run"), "jax", ["mlflow"]).partition(" ")[2])
    tail = "-m zoo.run 'a run/recipe.yaml' --out 'a run' --resume --log mlflow"
    assert found == [f".venv/bin/python {tail}", f"python {tail}", f"bin/python {tail}"]
    os.chdir("/usr/bin")
    monkeypatch.setenv("PATH", "/nowhere")
    assert resuming(Path("a"), None, []).startswith(f"{programs}/python -m")
