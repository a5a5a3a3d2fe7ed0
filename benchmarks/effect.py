"""What a key of a recipe does to a figure, measured: the same runs with and without it, over several seeds.

    python benchmarks/effect.py tasks                        # all questions of effects/tasks.yaml, and their table
    python benchmarks/effect.py tasks --only adaptation      # one of them
    python benchmarks/effect.py tasks --only windows --seeds 1 --dry   # the commands that would be run

In comes a file of questions; each has ways of training, the first of them the plain one. Each way is run once a seed, a
process a run. Out comes a row a run at the end of results/effects/NAME.jsonl, and from all rows that are there a table
of means, and of differences from the plain way of the same seed, with the 95% interval of their mean. What is there
already is not run again, also where another question has the same way: a stopped measurement goes on, and the table
says what it lacks.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml
from pydantic import Field

from zoo.recipe.kinds import Config, Count, Name, Text
from zoo.score.seeds import seed_interval
from zoo.tasks import TASKS

HERE = Path(__file__).resolve().parent
QUESTIONS, RESULTS = HERE / "effects", HERE / "results" / "effects"


class Rows(Config):
    """Which rows of a data set are taken, where a recipe cannot say it."""

    dataset: Name
    """Of the catalog; its training rows alone."""
    longest: Count | None = None
    """So many rows of the most words; None takes all."""
    share: dict[Text, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    """Of these classes as many rows as make this share of all; the first ones are taken."""


class Way(Config):
    """A way of training."""

    recipe: Name | None = None
    """Another recipe than the question's; None is the question's."""
    set: dict[Text, Any] = Field(default_factory=dict)
    """Dotted keys that are laid over the recipe."""
    figures: dict[Text, Text] = Field(default_factory=dict)
    """Figures of the question by their names in this run, where it has them under others; what is not named by a way
    with any is not compared."""


class Question(Config):
    """What is asked of a key."""

    asks: Text
    """The question, for the table."""
    recipe: Name
    """The recipe of all ways."""
    profile: Name | None = None
    """Its profile."""
    figures: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)] = ("accuracy",)
    """Figures of the test split, as run.json has them in `metrics.test`; the first is the one that is asked for."""
    seeds: Count = 5
    """Runs of each way, from seed 0."""
    rows: Rows | None = None
    """Rows in the place of the recipe's data; None leaves them."""
    set: dict[Text, Any] = Field(default_factory=dict)
    """Dotted keys of all ways."""
    ways: Annotated[dict[Name, Way], Field(min_length=2)]
    """The plain way first."""


def questions(name: str) -> dict[str, Question]:
    """The questions of a file of `effects/`, by name."""
    text = (QUESTIONS / f"{name}.yaml").read_text(encoding="utf-8")
    return {key: Question.model_validate(value) for key, value in yaml.safe_load(text).items()}


def settings(question: Question, way: Way, seed: int) -> dict[str, Any]:
    """All that decides a run, in plain values."""
    return {
        "recipe": way.recipe or question.recipe,
        "profile": question.profile,
        "rows": question.rows.model_dump() if question.rows else None,
        "set": {**question.set, **way.set, "seed": seed},
    }


def command(wanted: Mapping[str, Any], out: Path, rows: Path | None) -> list[str]:
    """The command line of a run."""
    given = dict(wanted["set"])
    if rows is not None:
        given |= {"data.dataset": None, "data.files": {"train": str(rows)}}
    words = [sys.executable, "-m", "zoo.run", f"recipes/{wanted['recipe']}.yaml", "--out", str(out)]
    words += ["--profile", wanted["profile"]] if wanted["profile"] else []
    for key, value in given.items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    return words


def chosen_rows(rows: Rows, path: Path) -> Path:
    """A csv file of these rows."""
    import recipes
    from zoo.data.dataset import load_dataset

    carved = {"data.dataset": rows.dataset, "data.validation": {}, "data.test": {}, "data.limit": {}}
    recipe = recipes.load("imdb_bert", profile="cpu", overrides=carved)
    data = load_dataset(recipe)
    names = data.task.names
    found = [
        (text, names[label])
        for split in (data.train, data.validation, data.test)
        for text, label in zip(split.texts, split.labels, strict=True)
    ]
    if rows.longest is not None:
        found = sorted(found, key=lambda row: len(row[0].split()), reverse=True)[: rows.longest]
    for name, share in rows.share.items():
        others = sum(label != name for _, label in found)
        kept, left = round(others * share / (1 - share)), []
        for row in found:
            if row[1] != name:
                left.append(row)
            elif kept:
                left.append(row)
                kept -= 1
        found = left
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *found])
    return path


def measured(name: str) -> list[dict[str, Any]]:
    """The rows of a file of results; none where there is no file yet."""
    path = RESULTS / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def run(name: str, asked: str, question: Question, *, seeds: int, dry: bool) -> None:
    """Run what is not there yet, and add a row for each run."""
    from benchmarks.compare import machine  # it reads the whole protocol

    there = [row["settings"] for row in measured(name)]
    with tempfile.TemporaryDirectory() as scratch:
        rows = None
        for seed in range(seeds):
            for kind, way in question.ways.items():
                wanted = settings(question, way, seed)
                if wanted in there:
                    continue
                if question.rows is not None and rows is None and not dry:
                    rows = chosen_rows(question.rows, Path(scratch) / "rows.csv")
                out = Path(scratch) / f"{kind}-{seed}"
                words = command(wanted, out, rows)
                print(shlex.join(words) if dry else f"{asked}: {kind}, seed {seed}", file=sys.stderr, flush=True)
                if dry:
                    continue
                begun = time.perf_counter()
                # stdout has the folder, which is known here; what the run says of itself goes to stderr.
                done = subprocess.run(words, stdout=subprocess.DEVNULL, check=False, cwd=HERE.parent)
                if done.returncode:
                    raise SystemExit(
                        f"{asked}: {kind} ended in {done.returncode}: mend it and begin again, what is done stays"
                    )
                found = _told(out)
                refuse_mixture(asked, found["precision"], measured(name))
                row = {"question": asked, "way": kind, "seed": seed, "settings": wanted, **found}
                row |= {"date": date.today().isoformat(), "machine": machine(found["device"])}
                RESULTS.mkdir(parents=True, exist_ok=True)
                with (RESULTS / f"{name}.jsonl").open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")
                took = time.perf_counter() - begun
                print(f"{asked}: {kind}, seed {seed}: {found['test']}, {took:.0f} s", file=sys.stderr, flush=True)


def refuse_mixture(asked: str, precision: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise SystemExit where a question's rows of before were multiplied in another precision: `auto` follows the
    machine, and runs that are compared differ in one thing."""
    before = {row["precision"] for row in rows if row["question"] == asked} - {precision}
    if before:
        raise SystemExit(
            f"{asked}: got a run in {precision}, expected {' or '.join(sorted(before))}, as those that are there: "
            "name training.precision in what the question sets"
        )


def _told(out: Path) -> dict[str, Any]:
    """What a run says of itself: of one in stages the last stage, of one in parts all; the seconds of all."""
    told = json.loads((out / "run.json").read_text(encoding="utf-8"))
    several = told.get("stages") or told.get("parts")
    found = {key: told[key] for key in ("backend", "device", "precision", "fingerprint", "versions") if key in told}
    if "metrics" in told:
        found["test"] = {key: value for key, value in told["metrics"]["test"].items() if isinstance(value, int | float)}
    if several is None:
        return found | {key: told["timing"][f"{name}_seconds"] for key, name in SECONDS.items()}
    each = [_told(out / one["folder"]) for one in several]
    return each[-1] | found | {key: sum(one[key] for one in each) for key in SECONDS}


SECONDS = {"seconds": "total", "train_seconds": "train"}
"""What a row calls the times of a run."""


def table(name: str) -> str:
    """The rows of a file as Markdown, a question after the other; those without rows are left out."""
    return "\n".join([line for key, asked in questions(name).items() for line in _lines(name, key, asked)])


def _lines(name: str, key: str, question: Question) -> Iterator[str]:
    rows = measured(name)
    if not any(row["question"] == key for row in rows):
        return
    found = {kind: _of_way(rows, question, way) for kind, way in question.ways.items()}
    missing = {kind: len(runs) for kind, runs in found.items() if len(runs) < question.seeds}
    yield f"**{question.asks}** (`{key}`)"
    yield ""
    if missing:
        runs = ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in missing.items())
        yield f"Not measured to its end: of {question.seeds} runs a way there are of {runs}."
        yield ""
    yield "| way | figure | runs | mean | deviation | more than the first way: mean, 95% interval |"
    yield "|---|---|---|---|---|---|"
    for figure in question.figures:
        plain: Mapping[int, float] | None = None
        for kind, way in question.ways.items():
            if way.figures and figure not in way.figures:
                continue
            values = {seed: float(row["test"][way.figures.get(figure, figure)]) for seed, row in found[kind].items()}
            cells = [kind.replace("_", " "), figure, str(len(values))]
            cells.append(f"{statistics.mean(values.values()):.4f}" if values else "")
            cells.append(f"{statistics.stdev(values.values()):.4f}" if len(values) > 1 else "")
            if plain is None:
                plain = values
                cells.append("")
            else:
                pairs = [values[seed] - plain[seed] for seed in sorted(values.keys() & plain.keys())]
                cells.append(difference(pairs, falling=figure.rpartition(".")[2] in FALLING))
            yield f"| {' | '.join(cells)} |"
    yield ""


def _of_way(rows: Sequence[Mapping[str, Any]], question: Question, way: Way) -> dict[int, Mapping[str, Any]]:
    """The rows of a way by seed, whichever question they were run for."""
    wanted = {seed: settings(question, way, seed) for seed in range(question.seeds)}
    return {row["seed"]: row for row in rows if row["settings"] == wanted.get(row["seed"])}


FALLING = {name for task in TASKS.values() for name in task.falling}
"""Figures of which less is better."""


def difference(values: Sequence[float], *, falling: bool = False) -> str:
    """The mean of differences with its 95% interval by Student's t, and in a word what it says; falling: less of the
    figure is better."""
    if len(values) < 2:
        return "too few runs"
    low, high = seed_interval(values, share=False)
    more, less = ("worse", "better") if falling else ("better", "worse")
    word = more if low > 0 else less if high < 0 else "within noise"
    return f"{statistics.mean(values):+.4f} ({low:+.4f} to {high:+.4f}), {word}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "name", choices=sorted(path.stem for path in QUESTIONS.glob("*.yaml")), help="a file of effects/"
    )
    parser.add_argument("--only", action="append", help="this question of it (repeatable)")
    parser.add_argument("--seeds", type=int, help="runs of each way, in place of what the question says")
    parser.add_argument("--dry", action="store_true", help="print the commands, run nothing")
    given = parser.parse_args(argv)
    asked = questions(given.name)
    for key in given.only or asked:
        if key not in asked:
            parser.error(f"--only: got {key}, expected one of {', '.join(asked)}")
        run(given.name, key, asked[key], seeds=given.seeds or asked[key].seeds, dry=given.dry)
    if not given.dry:
        print(table(given.name))
    return 0


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "torch")
    raise SystemExit(main())
