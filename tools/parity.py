"""Is a number the model's, and not the backend's? Measure every comparison of docs/trust.md.

    python tools/parity.py              # all rows on three backends, under ten minutes; exit 1 when a row fails
    python tools/parity.py --write      # and put the measured table into docs/trust.md
    python tools/parity.py --perturb    # all again with one weight moved by 1e-2: exit 2 when a row still passes
    python tools/parity.py --small      # nano models, short runs: what CI does, with --perturb

transformers and torch compute the references in a process of their own (comparisons/reference.py). Each backend has
two: in the first are its forward passes and steps (comparisons/measured.py) and its runs, in the second it goes on with
another's run and begins one of its own anew (comparisons/runs.py). comparisons/rows.py says what is compared and how
much it may differ.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402
from rich.table import Table  # noqa: E402

import recipes  # noqa: E402
from tools.comparisons.rows import KINDS, ROWS, Result, Row, run_differences  # noqa: E402
from tools.render_docs import filled  # noqa: E402
from zoo.backend import versions  # noqa: E402
from zoo.data.catalog import backbone_card, dataset_card  # noqa: E402
from zoo.data.dataset import load_dataset  # noqa: E402
from zoo.data.sources import fetch_first  # noqa: E402

BACKENDS = ("jax", "tensorflow", "torch")
PAGE = "docs/trust.md"
REVIEWS, FEW_REVIEWS = 5000, 100
UNNOTICED = 2
"""Exit code where a row passes that should not."""


Figures = dict[str, dict[str, float]]
"""Differences by row and backend."""


def measure(folder: Path, *, small: bool, perturb: bool, console: Console) -> tuple[Figures, Figures]:
    """What differs; and what does with a weight moved (for tokens: two entries of the vocabulary exchanged).

    Args:
        folder: scratch space.
        small: fewer reviews, nano models, short runs.
        perturb: whether the second is measured at all.
        console: where progress goes.
    """
    flags = ["--small"] * small + ["--perturb"] * perturb
    ways = (False, True)[: 1 + perturb]
    found: tuple[Figures, Figures] = ({}, {})
    begun = {BACKENDS[i]: BACKENDS[i - 1] for i in range(len(BACKENDS))}
    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("references", total=len(KINDS) + 1 + 2 * len(BACKENDS))

        def call(what: str, module: str, *arguments: str, backend: str = "torch") -> str:
            bar.update(task, description=what)
            output = _process(module, *arguments, backend=backend)
            bar.advance(task)
            return output

        runs, references = str(folder / "runs"), str(folder / "references")
        call("references", "reference", references, *["--small"] * small)
        for backend in BACKENDS:
            told = call(f"{backend}: models and runs", "runs", "begin", runs, references, *flags, backend=backend)
            for moved, figures in enumerate(json.loads(told)):
                for key, value in figures.items():
                    found[moved].setdefault(key, {})[backend] = value
        for backend in BACKENDS:
            other = begun[backend]
            call(f"{backend}: goes on from {other}", "runs", "resume", runs, other, *flags, backend=backend)
        texts = reviews(FEW_REVIEWS if small else REVIEWS)
        for moved in ways:
            found[moved].update(run_differences(folder / "runs", begun, moved=moved))
        for kind in KINDS:
            bar.update(task, description=f"tokens: {kind}")
            from tools.comparisons import tokenization  # transformers takes seconds to import

            for moved in ways:
                place = folder / "vocabularies" / f"{kind}-{moved}"
                differing = tokenization.compare(kind, texts, perturb=moved, folder=place).differing
                found[moved][f"tokens/{kind}"] = dict.fromkeys(BACKENDS, differing)
            bar.advance(task)
    return found


def reviews(count: int) -> list[str]:
    """So many real texts: sentences of rotten_tomatoes, and for a fifth whole reviews of IMDB, which have to be cut."""
    whole = recipes.load("imdb_bert", profile="cpu", overrides={"data.limit": {"train": count // 4, "test": 50}})
    long = load_dataset(whole).train.texts[: count // 5]
    short = load_dataset(recipes.load("quickstart")).train.texts[: count - len(long)]
    return [*long, *short]


def _process(module: str, *arguments: str, backend: str) -> str:
    """stdout of `python -m tools.comparisons.MODULE`."""
    done = subprocess.run(
        [sys.executable, "-m", f"tools.comparisons.{module}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": backend},
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(done.args)} on {backend} ended in {done.returncode}:\n{done.stderr}")
    return done.stdout


def figure(value: float | None, row: Row) -> str:
    """A difference as it is printed, without its unit."""
    if value is None:
        return "none"
    if not row.unit:
        return f"{value:.1e}"
    return f"{value:.2%}".rstrip("%") if row.unit.startswith("%") else f"{value:g}"


def limit(row: Row) -> str:
    """The largest difference that passes, with its unit."""
    return f"{figure(row.limit, row)} {row.unit}".rstrip()


def screen_table(results: Sequence[Result]) -> Table:
    """The rows for a terminal, the failed ones in red."""
    table = Table("what", "against", "at most", *BACKENDS, "")
    for result in results:
        row, failed = result.row, result.failed(BACKENDS)
        table.add_row(
            row.what,
            row.against,
            limit(row),
            *(figure(result.measured.get(backend), row) for backend in BACKENDS),
            "FAILED" if failed else "ok",
            style="red" if failed else None,
        )
    return table


def page_table(results: Sequence[Result], seconds: float) -> str:
    """The rows as Markdown, and where and when they were measured."""
    lines = [f"| what | against | at most | {' | '.join(BACKENDS)} |", "|---" * (3 + len(BACKENDS)) + "|"]
    for result in results:
        row = result.row
        figures = " | ".join(figure(result.measured.get(backend), row) for backend in BACKENDS)
        lines.append(f"| {row.what} | {row.against} | {limit(row)} | {figures} |")
    packages = versions("keras", "keras-hub", *BACKENDS, "transformers", "tokenizers")
    named = ", ".join(f"{name} {number}" for name, number in packages.items())
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()}), Python {platform.python_version()}"
    lines += ["", f"Measured on {date.today().isoformat()} in {seconds / 60:.1f} minutes on {machine}, with {named}."]
    return "\n".join([*lines, ""])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit code whether all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="nano models and short runs")
    parser.add_argument("--perturb", action="store_true", help="compare all again with one weight moved")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE}")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="for people or for programs")
    given = parser.parse_args(argv)
    if given.write and (given.small or given.perturb):
        parser.error("--write goes with the whole measurement alone: leave --small and --perturb out")
    begun = time.perf_counter()
    for card in (backbone_card("minilm_l6_en_uncased"), dataset_card("rotten_tomatoes_train")):
        fetch_first(card.origins)
    with tempfile.TemporaryDirectory() as scratch:
        plain, moved = measure(Path(scratch), small=given.small, perturb=given.perturb, console=Console(stderr=True))
    seconds = time.perf_counter() - begun
    rows = [row for row in ROWS if row.small or not given.small]
    results = [Result(row=row, measured=plain.get(row.key, {})) for row in rows]
    failed = [result.row.key for result in results if result.failed(BACKENDS)]
    unnoticed = [row.key for row in rows if given.perturb and not row.notices(moved.get(row.key, {}), BACKENDS)]
    if given.format == "json":
        told = [
            {
                "key": r.row.key,
                "limit": r.row.limit,
                "measured": dict(r.measured),
                "failed": r.failed(BACKENDS),
                "moved": moved.get(r.row.key),
            }
            for r in results
        ]
        print(json.dumps({"rows": told, "seconds": seconds}))
    else:
        console = Console(width=None if sys.stdout.isatty() else 150)
        console.print(screen_table(results))
        console.print(f"{len(results) - len(failed)} of {len(results)} rows within their limits, {seconds:.0f} s")
        if given.perturb:
            console.print(f"{len(results) - len(unnoticed)} of {len(results)} rows notice one weight that is moved")
    if given.write:
        (ROOT / PAGE).write_text(filled(PAGE, parity=lambda: page_table(results, seconds)), encoding="utf-8")
    if unnoticed:
        print(f"a weight was moved, and these rows did not notice: {', '.join(unnoticed)}", file=sys.stderr)
    return 1 if failed else UNNOTICED if unnoticed else 0


if __name__ == "__main__":
    raise SystemExit(main())
