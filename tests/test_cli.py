"""Errors to exit codes, closed pipes and the dispatcher."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo import cli
from zoo.errors import DataError, EnvironmentFault, OutputError, RecipeError, TrainingError, ZooError

ROOT = Path(__file__).resolve().parents[1]


def command_that(action: Callable[[], object]) -> Callable[..., int]:
    def command(debug: cli.DebugOption = False) -> int:
        """Do it. Example: zoo test"""
        action()
        return 0

    return command


def raising(error: BaseException) -> Callable[..., int]:
    def action() -> None:
        raise error

    return command_that(action)


def script(body: str) -> list[str]:
    lead = "from zoo import cli\n"
    call = "\nraise SystemExit(cli.run_command(command, [], name='test'))"
    return [sys.executable, "-c", lead + body + call]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RecipeError("a"), 2),
        (DataError("a"), 3),
        (EnvironmentFault("a"), 4),
        (TrainingError("a"), 5),
        (OutputError("a"), 6),
        (ZooError("a"), 70),
    ],
)
def test_exit_code_and_message(error: ZooError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(raising(error), [], name="test") == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: a\n")


def test_several_faults_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run_command(raising(RecipeError(["a [b]", "c" * 300])), [], name="test")
    assert capsys.readouterr().err == f"2 errors:\na [b]\n{'c' * 300}\n"


def test_a_bug_of_ours_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(raising(KeyError("x")), [], name="test") == 70
    err = capsys.readouterr().err
    assert err.startswith("error: a bug of ours: KeyError: 'x' (test_cli.py:")
    assert err.count("\n") == 1
    assert "--debug" in err


def test_memory_that_runs_out_anywhere_is_5(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(raising(MemoryError()), [], name="test") == 5
    assert "memory ran out" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyError("x"), DataError("rows")])
def test_debug_shows_the_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(raising(error), ["--debug"], name="test") in (3, 70)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(raising(KeyError("x")), ["--nonsense"], name="test") == 2
    assert "--nonsense" in capsys.readouterr().err


def test_help_is_0_and_holds_the_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(raising(KeyError("x")), ["--help"], name="test") == 0
    assert "Example: zoo test" in capsys.readouterr().out


def test_interrupt_is_130_and_says_what_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    error = KeyboardInterrupt()
    error.add_note("go on with: this")
    assert cli.run_command(raising(error), [], name="test") == 130
    assert capsys.readouterr().err == "interrupted\ngo on with: this\n"


def test_the_code_of_a_command_is_the_exit_code() -> None:
    def command() -> int:
        return 3

    assert cli.run_command(command, [], name="test") == 3


def test_a_closed_stdout_ends_quietly() -> None:
    body = "def command() -> int:\n    for n in range(200000):\n        print(n)\n"
    process = subprocess.Popen(script(body), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), errors) == (0, b"")


def test_another_broken_pipe_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    def action() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        try:
            os.write(writer, b"x")
        finally:
            os.close(writer)

    assert cli.run_command(command_that(action), [], name="test") == 70
    assert "BrokenPipeError" in capsys.readouterr().err


class TestFindRecipe:
    def test_name(self) -> None:
        assert cli.find_recipe("imdb_bert").name == "imdb_bert.yaml"

    def test_path(self, tmp_path: Path) -> None:
        path = tmp_path / "imdb_bert.yaml"
        path.write_text("name: x", encoding="utf-8")
        assert cli.find_recipe(str(path)) == path

    def test_a_folder_of_that_name_does_not_hide_a_recipe(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "imdb_bert").mkdir()
        monkeypatch.chdir(tmp_path)
        assert cli.find_recipe("imdb_bert").name == "imdb_bert.yaml"

    @pytest.mark.parametrize("text", ["imdb_brt", "nowhere/imdb_brt.yaml"])
    def test_near_names(self, text: str) -> None:
        with pytest.raises(RecipeError, match=r"did you mean imdb_bert\?"):
            cli.find_recipe(text)


class TestDispatcher:
    @pytest.mark.parametrize("verb", cli.VERBS)
    def test_every_verb_is_a_module_with_an_example(self, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main([verb, "--help"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        help_text = " ".join(line.strip() for line in out.splitlines() if "Usage:" not in line)
        assert re.search(rf"zoo[ .]{verb} \S", help_text)

    @pytest.mark.parametrize("module", ["zoo", "zoo.serve", "zoo.tokenize"])
    def test_a_process_of_its_own(self, module: str) -> None:
        """The dispatcher, a verb that is a folder, and one that is a file."""
        command = [sys.executable, "-m", module, *(["tokenize"] if module == "zoo" else []), "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"zoo {'serve' if module == 'zoo.serve' else 'tokenize'} [OPTIONS]" in done.stdout

    def test_overview_names_every_verb_and_imports_none(self) -> None:
        code = "import sys; from zoo.cli import main; main(['--help']); print(*[m for m in sys.modules if 'zoo.' in m])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        *overview, modules = done.stdout.splitlines()
        assert all(any(line.strip().startswith(verb) for line in overview) for verb in cli.VERBS)
        assert set(modules.split()) == {"zoo.cli", "zoo.errors", "zoo.stopping"}

    def test_unknown_verb(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["chekc"]) == 2
        assert "did you mean check?" in capsys.readouterr().err

    def test_verbs_of_other_programs(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["train", "quickstart"]) == 2
        assert "did you mean run?" in capsys.readouterr().err
        assert {*cli.MEANT.values()} <= {*cli.VERBS}
        assert {*cli.MEANT}.isdisjoint(cli.VERBS)

    @pytest.mark.parametrize(
        ("call", "told"),
        [
            (["run", "x", "--backend", "torch", "--resume"], "KERAS_BACKEND=torch python -m zoo.run x --resume"),
            (["serve", "a run", "--backend=jax"], "KERAS_BACKEND=jax python -m zoo.serve 'a run'"),
            (["predict", "runs/a", "a text"], "python -m zoo.predict runs/a --text 'a text'"),
            (["explain", "runs/a", "a text", "--label", "b"], "python -m zoo.explain runs/a --text 'a text' --label b"),
        ],
    )
    def test_what_is_asked_in_another_way(self, call: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(call) == 2
        assert capsys.readouterr().err.endswith(f": {told}\n")

    def test_no_verb(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main([]) == 2
        assert "usage: zoo VERB" in capsys.readouterr().err

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["--version"]) == 0
        assert capsys.readouterr().out.startswith("text-zoo ")

    def test_hands_the_arguments_on(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["check", "no_such_recipe"]) == 2
        assert "no_such_recipe" in capsys.readouterr().err
