"""benchmarks/compare.py: processes, ratios, verdicts and tables."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import recipes
from benchmarks import compare, processes, protocol, speed, tables, turns
from benchmarks.processes import Contender, Failed, Live
from zoo.errors import OutputError, RecipeError
from zoo.recipe import Recipe
from zoo.runs.run_folder import create_run
from zoo.score.metrics import wilson_interval
from zoo.tasks.classification import Classification

ROOT = Path(__file__).parents[1]
TORCH = Contender(name="torch", kind="zoo", backend="torch")
TUNED = compare.PEERS["hf"][0]


def quickstart(profile: str | None = None, **changes: Any) -> Recipe:
    """The quickstart recipe, at a profile's scale."""
    recipe = recipes.load("quickstart")
    return recipe.override({**(recipe.profiles[profile] if profile else {}), **changes})


def block(tokens: int, seconds: float) -> dict[str, Any]:
    return {"seconds": seconds, "steps": 3, "examples": 96, "tokens": tokens, "model_flops": 1e9}


def figures_of(accuracy: float = 0.85, rows: int = 100) -> dict[str, float]:
    low, high = wilson_interval(round(accuracy * rows), rows)
    return {"rows": rows, "accuracy": accuracy, "accuracy_low": low, "accuracy_high": high, "f1": accuracy}


def tally_of(accuracy: float = 0.85, rows: int = 100) -> dict[str, int]:
    """So many right of two classes that are equally frequent, and as many right of class 1 as of the other."""
    correct = round(accuracy * rows)
    found = correct // 2
    return {
        "rows": rows,
        "correct": correct,
        "most_frequent": rows // 2,
        "found": found,
        "relevant": found + rows - correct,
    }


# --- processes ----------------------------------------------------------------------------------


class TestProcesses:
    def test_commands(self) -> None:
        words = processes.command(turns.at_float32(TORCH), "quickstart", "cpu", ("seed=1",))
        assert words[2:] == ["quickstart", "--profile", "cpu", "--set", "seed=1", "--set", "training.precision=float32"]
        assert processes.environment(TORCH)["KERAS_BACKEND"] == "torch"
        assert "KERAS_BACKEND" not in processes.environment(TUNED)

    def test_a_process_that_fails_says_how(self) -> None:
        program = "import sys; print('first', file=sys.stderr); sys.exit('no such thing')"
        with pytest.raises(Failed, match="exit code 1: no such thing"):
            processes.once([sys.executable, "-c", program], dict(os.environ))
        with pytest.raises(Failed, match="exit code 1: no such thing"):
            Live([sys.executable, "-c", program], dict(os.environ))

    def test_no_folder_of_this_machine_is_told(self) -> None:
        program = f"import sys; sys.exit({str(ROOT / 'x')!r})"
        with pytest.raises(Failed, match=r"exit code 1: \.\.\./x"):
            processes.once([sys.executable, "-c", program], dict(os.environ))

    def test_what_is_no_json_is_refused(self) -> None:
        with pytest.raises(Failed, match="expected a line of JSON"):
            processes.once([sys.executable, "-c", "print('hello')"], dict(os.environ))

    def test_a_process_that_dies_is_left_out_and_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        serving = (
            "import json, os, sys\n"
            "print(json.dumps({'precision': 'float32', 'seconds': {}, 'answers': ['train', 'memory']}), flush=True)\n"
            "for line in sys.stdin:\n"
            "    {act}\n"
            "    answer = {'seconds': 1, 'examples': 2, 'tokens': 8, 'model_flops': 1, 'peak_bytes': 5}\n"
            "    print(json.dumps(answer), flush=True)"
        )
        programs = {"torch": serving.replace("{act}", "pass"), "jax": serving.replace("{act}", "os.abort()")}
        monkeypatch.setattr(turns, "command", lambda who, *_: [sys.executable, "-c", programs[who.name]])
        contenders = [TORCH, Contender(name="jax", kind="zoo", backend="jax")]
        found = speed.measure("quickstart", None, (), contenders, rounds=2, say=lambda _: None)
        whole, failed = found["rows"]
        assert whole["train_tokens_per_second"]["median"] == 8.0
        assert whole["memory"]["peak_bytes"] == 5
        assert failed == {"contender": "jax", "peer": False, "failed": "killed by signal 6: it said nothing"}
        assert compare.exit_code({"speed": [found], "results": [], "verdicts": []}) == 1


# --- ratios and verdicts ------------------------------------------------------------------------


def rounds() -> list[dict[str, Any]]:
    """Three rounds: torch twice as fast as the peer in each, though the machine slows down."""
    return [
        {
            "torch": {"train": block(1000, 1.0 * slow), "predict": {"examples": 10, "seconds": slow}},
            "hf_tuned": {"train": block(1000, 2.0 * slow)},
            "hf_pipeline": {"predict": {"examples": 10, "seconds": 3 * slow}},
        }
        for slow in (1.0, 2.0, 5.0)
    ]


def measured() -> dict[str, Any]:
    """What `speed.measure` returns."""
    who = [TORCH, TUNED, compare.PEERS["hf"][3]]
    ready = {
        "seconds": {"import": 1.0, "tokenize": 0.1, "build": 2.0},
        "precision": "float32",
        "memory": {"peak_bytes": 10**9, "of": "process"},
        "device": "cpu",
        "backend": "torch",
        "versions": {"torch": "2"},
    }
    shapes = {"compile_seconds": {"32x8": 0.5, "32x16": 1.0}, "shapes": 2, "padding_fraction": 0.07}
    return {
        "recipe": "quickstart",
        "profile": "cpu",
        "rows": [
            {
                "contender": each.name,
                "peer": each.is_peer,
                **ready,
                **(shapes if each.name != "hf_pipeline" else {}),
                **protocol.figures([answers[each.name] for answers in rounds()]),
                "rounds": [protocol.rates(answers[each.name]) for answers in rounds()],
            }
            for each in who
        ],
        "ratios": speed.ratios(rounds(), who),
        "equal_labels": speed.equal_labels({"torch": [1, 0, 1, 1], "hf_pipeline": [1, 0, 0, 1], "hf_tuned": None}),
    }


def options(**changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"profile": "cpu", "changes": [], "rounds": 3, "speed_only": False, **changes})


def result(**changes: Any) -> dict[str, Any]:
    """A row of a whole run."""
    row = compare._row(quickstart("cpu"), "cpu", TORCH)
    timing = {"train_seconds": 30.0, "total_seconds": 75.0, "tokens_per_second": 1234.5}
    figures = {"test": figures_of(), "timing": timing, "memory": {"peak_bytes": 2 * 10**9}, "fingerprint": "f"}
    return {**row, "seed": 0, "backend": "torch", "outcome": "trained", "tally": tally_of(), **figures, **changes}


class TestFigures:
    def test_ratios_are_of_each_round(self) -> None:
        found = measured()
        assert found["ratios"][speed.TRAIN]["hf_tuned"]["torch"] == {
            "median": 2.0,
            "low": 2.0,
            "high": 2.0,
            "blocks": 3,
        }
        assert found["equal_labels"] == {"torch": 0.75}

    def test_flat_keys(self) -> None:
        slower = {**measured(), "ratios": {speed.TRAIN: {"hf_tuned": {"torch": protocol.spread([1.5])}}}}
        assert speed.flat([measured(), slower]) == {
            "ratio.train_tokens_per_second.hf_tuned": 1.5,
            "ratio.train_tokens_per_second.hf_tuned.torch": 1.5,
            "ratio.predict_examples_per_second.hf_pipeline": pytest.approx(3.0),
            "ratio.predict_examples_per_second.hf_pipeline.torch": pytest.approx(3.0),
            "equal_labels": 0.75,
        }

    def test_differences_of_accuracy(self) -> None:
        peer = {"contender": "hf_tuned", "peer": True}
        rows = [result(), result(seed=1), result(**peer, test=figures_of(0.8)), result(**peer, seed=2)]
        found = compare.accuracy_differences(rows)
        assert found == {"difference.accuracy.hf_tuned.torch.quickstart": pytest.approx(0.05)}

    @pytest.mark.parametrize(("verdict", "code"), [("met", 0), ("within noise", 0), ("not run: x", 0), ("missed", 1)])
    def test_only_what_is_missed_or_failed_ends_in_1(self, verdict: str, code: int) -> None:
        found = {"speed": [], "results": [result()], "verdicts": [{"verdict": verdict}]}
        assert compare.exit_code(found) == code
        assert compare.exit_code({**found, "results": [result(), {"failed": "exit code 5"}]}) == 1

    def test_as_many_seeds_as_the_recipe_wants(self) -> None:
        assert list(compare.seeds_of(recipes.load("sst2_roberta"))) == [0, 1, 2, 3, 4]
        assert list(compare.seeds_of(recipes.load("sst2_roberta", profile="cpu"))) == [0]
        assert list(compare.seeds_of(quickstart("smoke", seed=7, expected=None))) == [7]


# --- the document and its renderings ------------------------------------------------------------


class TestDocument:
    def test_tables_and_chart(self, tmp_path: Path) -> None:
        skipped = {**compare._row(quickstart("cpu"), "cpu", TUNED), "seed": 0, "outcome": "not run: no weights [here]"}
        broken = {"contender": "jax", "peer": False, "failed": "exit code 5: out of memory"}
        found = compare.document(
            [result(), skipped], [{**measured(), "rows": [*measured()["rows"], broken]}], options()
        )
        folder = compare.write(found, tmp_path / "new")
        page = (folder / "tables.md").read_text()
        low, high = wilson_interval(85, 100)
        for part in (
            f"0.8500 ({low:.4f} to {high:.4f})",
            "| quickstart (cpu) | torch | accuracy | 1 | 0.8500 | - | 0.8200 | within noise |",
            "| quickstart (cpu) | torch | training | 1 | 30.0 s | - | - | - |",
            "| torch | F1 | 0.7743 | 0.9014 | Wilson, test rows |",
            "| quickstart (cpu) | minilm_l6_en_uncased | rotten_tomatoes_train |",
            "| 30.0 s | trained |",
            "| 7.0% |",
            "not run: no weights [here]",
            "exit code 5: out of memory",
            "2.00 (2.00 to 2.00)",
            "1.5 s",
        ):
            assert part in page
        screen = io.StringIO()
        tables.show(found, Console(file=screen, width=tables.WIDTH))
        told = screen.getvalue()
        assert max(map(len, told.splitlines())) <= 100
        assert "not run: no weights [here]" in told
        for table in tables.tables(found):
            assert all(word in told for column in table.columns for word in column.split())
            assert all(word in told for row in table.rows for cell in row for word in cell.split())
        assert (folder / "chart.png").read_bytes().startswith(b"\x89PNG")
        told = json.loads((folder / "results.json").read_text())
        assert told["ratio.train_tokens_per_second.hf_tuned"] == 2.0
        assert [run["backend"] for run in told["runs"]] == ["torch"]
        assert {"recipe", "profile", "backend", "seed", "fingerprint", "test", "timing"} <= told["runs"][0].keys()
        assert str(ROOT) not in json.dumps(told)

    def test_over_seeds(self) -> None:
        """Mean, deviation and number by recipe and contender, and how many runs collapsed."""
        seeds = [result(seed=seed, test=figures_of(accuracy)) for seed, accuracy in enumerate((0.80, 0.84, 0.88))]
        seeds[0]["outcome"] = "collapsed"
        shown = tables.expected_results(compare.document(seeds, [], options()))
        assert shown.columns[3:6] == ("Seeds", "Mean", "SD")
        assert shown.rows[0] == (
            *("quickstart (cpu)", "torch", "accuracy", "3 (1 collapsed)", "0.8400", "0.0400", "0.8200", "within noise"),
        )

    @pytest.mark.parametrize(
        "folder", sorted(compare.RESULTS.glob("*/results.json")), ids=lambda path: path.parent.name
    )
    def test_what_was_measured_before_is_still_read(self, folder: Path) -> None:
        page = tables.markdown(json.loads(folder.read_text(encoding="utf-8")))
        assert page == folder.with_name("tables.md").read_text(encoding="utf-8")

    def test_nothing_measured_has_no_chart(self, tmp_path: Path) -> None:
        skipped = {**compare._row(quickstart("cpu"), "cpu", TUNED), "outcome": "not run: no weights"}
        folder = compare.write(compare.document([skipped], [], options()), tmp_path / "new")
        assert sorted(path.name for path in folder.iterdir()) == ["results.csv", "results.json", "tables.md"]

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "results.json").touch()
        with pytest.raises(OutputError, match="expected a new folder"):
            compare.write({}, tmp_path)
        assert compare.main(["--recipes", "quickstart", "--profile", "smoke", "--out", str(tmp_path)]) == 6

    def test_the_next_free_folder(self, tmp_path: Path) -> None:
        first = compare.next_free(tmp_path, "2026-11-22", "gpu: NVIDIA H200")
        assert first.name == "2026-11-22-gpu-nvidia-h200-1"
        first.mkdir()
        assert compare.next_free(tmp_path, "2026-11-22", "gpu: NVIDIA H200").name.endswith("-2")


class TestSideBySide:
    def test_runs_of_a_recipe_are_laid_side_by_side(self, tmp_path: Path) -> None:
        """Two finished runs of one recipe are; one alone, and one that broke off, are not."""
        for name in ("twice/jax-seed-0", "twice/torch-seed-0", "once/jax-seed-0"):
            _finished_run(tmp_path / "runs" / name)
        with pytest.raises(ValueError, match="diverged"), create_run(tmp_path / "runs" / "once" / "torch", RECIPE):
            raise ValueError("diverged")
        told: list[str] = []
        compare.side_by_side(tmp_path / "runs", tmp_path / "out", told.append)
        assert told == [f"written: {tmp_path / 'out' / 'runs-twice' / 'compare.html'}"]
        assert [folder.name for folder in (tmp_path / "out").iterdir()] == ["runs-twice"]
        page = (tmp_path / "out" / "runs-twice" / "compare.html").read_text(encoding="utf-8")
        assert "2: torch-seed-0" in page
        assert str(tmp_path) not in page

    def test_the_zoo_leaves_run_folders_and_peers_do_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called_with: list[list[str]] = []

        def answer(words: list[str], _: object) -> dict[str, Any]:
            called_with.append(words)
            return {"test": figures_of(), "tally": tally_of(), "timing": {"train_seconds": 1.0}}

        monkeypatch.setattr(compare, "once", answer)
        for contender in (TORCH, TUNED):
            compare._whole_run("quickstart", quickstart("cpu"), options(), contender, 3, Path("runs"))
        ours, theirs = called_with
        assert ours[-2:] == ["--out", str(Path("runs/quickstart/torch-seed-3"))]
        assert "--out" not in theirs


RECIPE = "name: mine\ndata: {dataset: imdb}\nmodel: {backbone: {family: bert, preset: minilm_l6_en_uncased}}\n"


def _finished_run(path: Path) -> None:
    with create_run(path, RECIPE) as folder:
        rows = Classification(names=("bad", "good")).rows(["test/0", "test/1"], [0, 1], [[0.8, 0.2], [0.7, 0.3]])
        folder.write_predictions(rows)
        folder.update_run({"metrics": {"test": figures_of()}, "dataset": {"label_names": ["bad", "good"]}})


class TestOptions:
    def test_lists_by_comma_or_space(self) -> None:
        found = compare.parse(["--recipes", "quickstart,imdb_bert", "--backends", "jax", "torch", "--seeds", "0,1"])
        assert (found.recipes, found.backends, found.seeds) == (["quickstart", "imdb_bert"], ["jax", "torch"], [0, 1])
        assert set(compare.parse([]).recipes) == set(recipes.names())

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--backends", "mxnet"], "--backends: got 'mxnet', expected one of jax, tensorflow, torch"),
            (["--peers", "spacy"], "--peers: got 'spacy', expected one of hf"),
            (["--seeds", "one"], "--seeds: got 'one', expected whole numbers"),
            (["--seeds", "0,1,0"], "--seeds: got 0 more than once, expected each seed once"),
            (["--rounds", "0"], "--rounds: got 0, expected 1 or more"),
        ],
    )
    def test_refused(self, words: list[str], message: str) -> None:
        with pytest.raises(RecipeError, match=message):
            compare.parse(words)

    def test_rows_that_cannot_run_say_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reason = str(compare.obstacle(recipes.load("imdb_bert"), TORCH))
        assert reason.startswith("not run: the data set imdb is not in the cache (hf://")
        assert "; the backbone bert_base_en_uncased is not in the cache (kaggle://" in reason
        assert reason.endswith(": run python -m zoo.fetch")
        assert "not run: the backbone is a fresh one" in str(compare.obstacle(quickstart("smoke"), TUNED))
        assert compare.obstacle(quickstart("smoke"), TORCH) is None
        alone = quickstart("smoke", backend="jax")
        assert compare.obstacle(alone, TORCH) == "not run: the recipe is for jax alone"
        monkeypatch.setattr(compare, "installed", lambda: ("jax",))
        assert compare.obstacle(quickstart("smoke"), TORCH) == "not run: the backend torch is not installed"
