"""What a data set costs before the first step, by its rows: seconds and memory of each part, and how they grow.

    python benchmarks/large.py                                                # 10,000, 100,000 and 1,300,000 rows
    python benchmarks/large.py --rows 10000 --rows 100000 --backend torch     # fewer
    python benchmarks/large.py --write                                        # into results/large.json and docs/data.md

The rows are made here: a question of 4 to 22 words drawn by Zipf's law from the whole words of a real vocabulary, one
in sixteen of the second class, as quora_bert has them; the model is MiniLM, which comes as a package. Each number of
rows is prepared twice, in a process of its own each time: with an empty cache, and with what the first one has left. A
part's memory is the most that the process holds of the machine's while it goes on (Linux; of a file that is mapped what
was looked at counts). In the last part ten steps are trained.
"""

from __future__ import annotations

import csv
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import islice, pairwise
from pathlib import Path
from typing import Annotated, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import typer  # noqa: E402
from rich.table import Table  # noqa: E402

import recipes  # noqa: E402
from tools.render_docs import filled  # noqa: E402
from tools.render_docs import table as in_markdown  # noqa: E402
from zoo import cli  # noqa: E402
from zoo.data.backbones import bring  # noqa: E402
from zoo.data.parts import load_parts  # noqa: E402
from zoo.data.sources import cache_folder  # noqa: E402
from zoo.errors import EXIT_DONE  # noqa: E402
from zoo.recipe import Recipe  # noqa: E402

RESULTS, PAGE = ROOT / "benchmarks" / "results" / "large.json", "docs/data.md"
PARTS = {
    "start": "begin",
    "read": "read, check, split",
    "tokenize": "cut into tokens",
    "build": "build",
    "train": "10 steps",
}
ROWS = (10_000, 100_000, 1_300_000)
WORDS = (4, 22)
"""Words of a question, at least and at most."""
RARE = 16
"""One in so many is of the second class."""
STEPS = 10
CHILD = "ZOO_LARGE_CHILD"
"""Says to a process that it is to prepare and to tell, and the file of what rows."""


def large(
    rows: Annotated[list[int] | None, typer.Option("--rows", help="Numbers of rows, rising; given once each.")] = None,
    backend: Annotated[str, typer.Option(help="jax, tensorflow or torch.")] = "torch",
    write: Annotated[bool, typer.Option("--write", help="Keep what was measured, and fill its page.")] = False,
) -> int:
    """What a data set costs before the first step, by its rows."""
    found = [each for count in rows or ROWS for each in measured(count, backend)]
    document = {"date": date.today().isoformat(), "backend": backend, "cores": os.cpu_count(), "runs": found}
    shown = Table(*HEADER, box=None, pad_edge=False)
    for row in cells(found):
        shown.add_row(*row)
    cli.output(width=200).print(shown)
    cli.tell(growth(found))
    if write:
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")
        (ROOT / PAGE).write_text(filled(PAGE, large=lambda: told(document)), encoding="utf-8")
    return EXIT_DONE


HEADER = ("rows", "start", *PARTS.values(), "in all")


def cells(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """A row of the table for each process."""
    for run in runs:
        parts = [f"{part['seconds']:.1f} s, {part['bytes'] / 1e9:.2f} GB" for part in run["parts"].values()]
        seconds = sum(part["seconds"] for part in run["parts"].values())
        yield f"{run['rows']:,}", run["start"], *parts, f"{seconds:.1f} s"


def growth(runs: Sequence[Mapping[str, Any]]) -> str:
    """How seconds grow with rows, as the exponent between each two sizes, and memory, by the row."""
    first = [run for run in runs if run["start"] == "first"]
    lines = []
    for one, other in pairwise(first):
        ratio = math.log(other["rows"] / one["rows"])
        powers = [
            f"{PARTS[name]} {math.log(other['parts'][name]['seconds'] / one['parts'][name]['seconds']) / ratio:.2f}"
            for name in ("read", "tokenize")
        ]
        most = [max(part["bytes"] for part in run["parts"].values()) for run in (one, other)]
        memory = (most[1] - most[0]) / (other["rows"] - one["rows"])
        lines.append(
            f"From {one['rows']:,} to {other['rows']:,} rows seconds grow by the power of: {', '.join(powers)} (1: in "
            f"proportion); memory grows by {memory:,.0f} bytes a row."
        )
    return "\n".join(lines)


def told(document: Mapping[str, Any]) -> str:
    """What a document says, in Markdown."""
    where = f"Measured on {document['date']} on {document['backend']}, on {document['cores']} cores of a CPU."
    table = in_markdown(HEADER, cells(document["runs"]))
    return f"{where}\n\n{table}\n\n{growth(document['runs'])}"


def measured(rows: int, backend: str) -> Iterator[dict[str, Any]]:
    """What two processes tell that prepare the same rows, one after the other."""
    with tempfile.TemporaryDirectory() as base:
        file, kept = Path(base) / "rows.csv", Path(base) / "cache"
        write_rows(file, rows)
        kept.mkdir()
        recipe = recipe_of(file)
        bring(recipe)
        # The model and its vocabulary are there as after a download, and no more.
        (kept / "sources").symlink_to(cache_folder() / "sources")
        for start in ("first", "second"):
            env = os.environ | {"KERAS_BACKEND": backend, "ZOO_CACHE": str(kept), CHILD: str(file)}
            done = subprocess.run([sys.executable, __file__], stdout=subprocess.PIPE, text=True, check=True, env=env)
            yield {"rows": rows, "start": start, "bytes": file.stat().st_size, "parts": json.loads(done.stdout)}


def recipe_of(file: Path) -> Recipe:
    """Quora's recipe for a file of rows, with a model that comes as a package."""
    files = {"train": str(file), "text": "question", "label": "insincere"}
    return recipes.load(
        "quora_bert",
        overrides={
            "data.dataset": None,
            "data.files": files,
            "model.backbone.preset": "minilm_l6_en_uncased",
            "training.batch_size": 16,
            "training.precision": "float32",
            "training.compile": "off",
        },
    )


def write_rows(file: Path, rows: int) -> None:
    """Rows of made-up questions, each with its class."""
    import numpy as np

    recipe = recipe_of(file)
    bring(recipe)
    vocabulary = load_parts(recipe).tokenizer.rust.get_vocab()
    words = [
        word for word, _ in sorted(vocabulary.items(), key=lambda item: item[1]) if word.isalpha() and len(word) > 1
    ]
    drawn, classes = np.random.default_rng(0), random.Random(0)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("question", "insincere"))
        for _ in range(rows):
            places = drawn.zipf(1.2, classes.randint(*WORDS)) % len(words)
            writer.writerow(
                (" ".join(words[place] for place in places.tolist()) + "?", int(not classes.randrange(RARE)))
            )


def prepare_and_tell(file: Path) -> None:
    """Go the way of a run to its first steps; print what each part took as JSON."""
    found = dict[str, dict[str, float]]()
    recipe = recipe_of(file)
    with part("start", found):
        from zoo.data.dataset import load_dataset
        from zoo.training.prepare import activated, prepare

        backend = activated(recipe)
    with part("read", found):
        dataset = load_dataset(recipe)

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        with part(name, found):
            yield

    session = prepare(recipe, dataset, backend=backend, stage=stage)
    with part("train", found):
        trainer = session.trainer()
        for batch in islice(session.epoch_batches(0), STEPS):
            value, _ = trainer.step(batch.inputs, batch.labels, batch.weights)
        float(value)
    print(json.dumps({name: found[name] for name in PARTS}))


@contextmanager
def part(name: str, found: dict[str, dict[str, float]]) -> Iterator[None]:
    """Notes the seconds of the block, and the most memory that the process has while it goes on."""
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the high-water mark begins anew
    begun = time.monotonic()
    yield
    seconds = time.monotonic() - begun
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    found[name] = {"seconds": round(seconds, 3), "bytes": 1024 * int(status["VmHWM"].split()[0])}


def main(argv: Sequence[str] | None = None) -> int:
    """The command: arguments in, exit code out."""
    if CHILD in os.environ:
        prepare_and_tell(Path(os.environ[CHILD]))
        return EXIT_DONE
    return cli.run_command(large, argv, name="large")


if __name__ == "__main__":
    raise SystemExit(main())
