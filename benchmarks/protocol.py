"""What every measured process does in the same way, the zoo's and a peer's; README.md says why.

In come a `Subject` and lines on stdin (`train`, `predict`, `ceiling`, `memory`, `quit`); out goes a line of JSON on
stdout for each, after a first one that says what was prepared. Refused: a line that the subject does not know.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

import numpy as np

from zoo import cli
from zoo.errors import ZooError
from zoo.models.backbone import BackboneConfig
from zoo.recipe import Recipe, load_recipe
from zoo.score.seeds import tally

POOL = 200
"""Batches of an epoch from which blocks are drawn."""
PREDICT_ROWS = 256
"""Test rows of a block of predictions."""
ROUNDS_ALONE = 5
"""Blocks of each kind where a process is measured by itself."""
CEILING_REPEATS = 4
DRAWN_ROWS = 4096
"""Rows of a factor that are drawn; further ones repeat them."""
BLOCKS = ("train", "predict", "ceiling")
"""What is asked once a round."""
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0

Answer = dict[str, Any]
Warmth = tuple[dict[str, float], float]
"""Seconds of the first step by shape, and the mean of the second ones."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How long a block is, and how large the products of the ceiling, for devices of one kind.

    block_seconds: what a block of training steps is meant to last.
    fewest_steps, most_steps: steps of a block.
    repeated: whether a block that is longer than the epoch goes through it again; else it is the epoch.
    ceiling_rows: most rows of a product with which the ceiling is measured.
    square: side of its square product.
    timed_seconds: how long what is timed has to last: of so many products in a row.
    """

    block_seconds: float
    fewest_steps: int
    most_steps: int
    repeated: bool
    ceiling_rows: int
    square: int
    timed_seconds: float


ON_CPU = Scale(
    block_seconds=5.0,
    fewest_steps=3,
    most_steps=10,
    repeated=False,
    ceiling_rows=4096,
    square=2048,
    timed_seconds=0.0,
)
ON_ACCELERATOR = Scale(
    block_seconds=2.0,  # what was seen of the second step of a shape may be twice what later ones take
    fewest_steps=3,
    most_steps=2000,
    repeated=True,
    ceiling_rows=16384,
    square=8192,
    timed_seconds=0.05,
)


def scale_of(*, accelerated: bool) -> Scale:
    """The scale of an accelerator or of a CPU."""
    return ON_ACCELERATOR if accelerated else ON_CPU


class Subject(Protocol):
    """What is measured; all of it can be written as JSON."""

    ready: Answer
    """What was prepared: seconds by part, compile seconds by shape, padding share, precision, versions, labels."""
    actions: Mapping[str, Callable[[], Answer]]
    """What it can be asked: some of
    train: a block of training steps: seconds, steps, examples, tokens (real ones) and model_flops;
    predict: PREDICT_ROWS texts to labels: seconds and examples;
    ceiling: flops_per_second of the best matrix product, in the precision of training;
    memory: peak_bytes so far, and of what."""


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every measured process takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe file, or the name of a shipped recipe")
    parser.add_argument("--profile", metavar="NAME", help="one of the recipe's profiles")
    parser.add_argument("--set", dest="changes", metavar="KEY=VALUE", action="append", default=[], help="as zoo.run's")
    parser.add_argument("--out", metavar="DIR", help="where a whole run leaves its folder; default: nowhere")
    parser.add_argument("--speed-only", action="store_true", help="no whole run: blocks of steps and of predictions")
    parser.add_argument("--serve", action="store_true", help="with --speed-only: a block for each line on stdin")
    return parser


def run(options: argparse.Namespace, *, whole: Callable[[Recipe], Answer], subject: Callable[[Recipe], Subject]) -> int:
    """What the options ask for, its answers on stdout; the exit code, as zoo.run's.

    Args:
        options: see `arguments`.
        whole: trains and evaluates a recipe.
        subject: makes a recipe ready to be measured block by block.
    """
    answers = _take_stdout()
    try:
        recipe = load_recipe(cli.find_recipe(options.recipe), profile=options.profile, overrides=options.changes)
        if not options.speed_only:
            say(answers, whole(recipe))
        elif options.serve:
            serve(subject(recipe), sys.stdin, answers)
        else:
            say(answers, alone(subject(recipe)))
    except ZooError as error:
        cli.show_error(error)
        return error.exit_code
    return 0


def _take_stdout() -> TextIO:
    """The process's stdout, for answers alone: what libraries print goes to stderr from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    return answers


def say(answers: TextIO, answer: Answer) -> None:
    """One answer as a line."""
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def serve(subject: Subject, questions: Iterable[str], answers: TextIO) -> None:
    """Say what is ready, then answer each line until `quit` or the end; one not understood is answered by `error`."""
    say(answers, {**subject.ready, "answers": list(subject.actions)})
    for line in questions:
        asked = line.strip()
        if asked == "quit":
            return
        if asked in subject.actions:
            say(answers, subject.actions[asked]())
        else:
            say(answers, {"error": f"got {asked!r}, expected one of {', '.join([*subject.actions, 'quit'])}"})


def alone(subject: Subject) -> Answer:
    """The figures of one process that nothing is compared with."""
    blocks = {name: action for name, action in subject.actions.items() if name in BLOCKS}
    rounds = [{name: action() for name, action in blocks.items()} for _ in range(ROUNDS_ALONE)]
    return {**subject.ready, **figures(rounds), "memory": subject.actions["memory"]()}


def figures(rounds: Sequence[Mapping[str, Answer]]) -> Answer:
    """Median and quartiles over rounds, of what the rounds hold.

    Args:
        rounds: the answers of each round, by what was asked.
    """
    columns: dict[str, list[float]] = {}
    for answers in rounds:
        for name, value in rates(answers).items():
            columns.setdefault(name, []).append(value)
    return {name: spread(values) for name, values in columns.items()}


def rates(answers: Mapping[str, Answer]) -> dict[str, float]:
    """The figures of one round: examples and real tokens a second, and the share of the ceiling that training gets."""
    found: dict[str, float] = {}
    if "train" in answers:
        block = answers["train"]
        found["train_examples_per_second"] = block["examples"] / block["seconds"]
        found["train_tokens_per_second"] = block["tokens"] / block["seconds"]
        found["train_flops_per_second"] = block["model_flops"] / block["seconds"]
    if "predict" in answers:
        found["predict_examples_per_second"] = answers["predict"]["examples"] / answers["predict"]["seconds"]
    if "ceiling" in answers:
        found["ceiling_flops_per_second"] = answers["ceiling"]["flops_per_second"]
        if "train" in answers:
            found["model_flop_utilisation"] = found["train_flops_per_second"] / found["ceiling_flops_per_second"]
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and number of some values, at least one."""
    if len(values) == 1:
        return {"median": values[0], "low": values[0], "high": values[0], "blocks": 1}
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": statistics.median(values), "low": low, "high": high, "blocks": len(values)}


def steps_of_block(step_seconds: float, scale: Scale) -> int:
    """How many steps of this length make a block."""
    return max(scale.fewest_steps, min(scale.most_steps, round(scale.block_seconds / max(step_seconds, 1e-9))))


def block_of(sizes: Sequence[int], count: int, number: int, *, repeated: bool = False) -> list[int]:
    """Which batches make up a block: a systematic sample by size, in the epoch's own order.

    Every block so has the mix of lengths of the whole epoch, and blocks differ by time and not by luck.

    Args:
        sizes: tokens of each batch of the epoch.
        count: batches in the block.
        number: which block, from 0; each begins elsewhere.
        repeated: see `Scale`.

    Returns:
        `count` places in `sizes`, rising; all of them where there are no more, once, or `repeated` until there are as
        many as `count` or more.
    """
    if count >= len(sizes):
        return list(range(len(sizes))) * (math.ceil(count / len(sizes)) if repeated else 1)
    order = np.argsort(np.asarray(sizes), kind="stable")
    places = (np.arange(count) + number * GOLDEN % 1.0) * len(sizes) / count
    return sorted(int(index) for index in order[places.astype(np.int64)])


def warm_up(batches: Iterable[Any], shape: Callable[[Any], str], step: Callable[[Any], float]) -> Warmth:
    """Two steps of each shape.

    Args:
        batches: of an epoch, or a part of it.
        shape: a batch's shape, by name.
        step: does one on a batch, to its end; the seconds it took.

    Returns:
        Seconds of the first step by shape, and the mean of the second ones.
    """
    first: dict[str, float] = {}
    second: list[float] = []
    for batch in batches:
        name = shape(batch)
        if name not in first:
            first[name] = step(batch)
            second.append(step(batch))
    return first, float(np.mean(second))


def trained(seconds: float, steps: int, lengths: np.ndarray, backbone: BackboneConfig) -> Answer:
    """The answer to `train`: what a block of steps on rows of these lengths took."""
    return {
        "seconds": seconds,
        "steps": steps,
        "examples": len(lengths),
        "tokens": int(lengths.sum()),
        "model_flops": model_flops(backbone, lengths),
    }


def model_flops(backbone: BackboneConfig, lengths: np.ndarray) -> float:
    """Floating point operations that a training step on rows of these lengths cannot do without.

    6 for each weight of a matrix product and real token, and 12 for each layer, width and pair of real tokens of a row,
    for the attention's two products. Padding, embeddings, the head and recomputation count nothing.
    """
    h, i, layers = backbone.hidden_dim, backbone.intermediate_dim, backbone.num_layers
    real = lengths.astype(np.float64)
    return float(6 * layers * (4 * h * h + 2 * h * i) * real.sum() + 12 * layers * h * np.square(real).sum())


def product_shapes(backbone: BackboneConfig, rows: int, scale: Scale) -> list[tuple[int, int, int]]:
    """[rows, inner] x [inner, columns] products as the model has them at so many tokens a batch, and a square one."""
    h, i, rows = backbone.hidden_dim, backbone.intermediate_dim, min(rows, scale.ceiling_rows)
    return [(rows, h, h), (rows, h, i), (rows, i, h), (scale.square, scale.square, scale.square)]


def best_product(
    shapes: Sequence[tuple[int, int, int]],
    draw: Callable[[np.ndarray], Any],
    multiply: Callable[[Any, Any], Any],
    wait: Callable[[Any], object],
    timed_seconds: float = 0.0,
) -> Answer:
    """The most operations a second of any of the products.

    Args:
        shapes: rows, inner and columns of each product.
        draw: a float32 matrix as the framework's own, in the precision to measure.
        multiply: one product.
        wait: returns when a product is computed, and those that were sent off before it.
        timed_seconds: see `Scale`: one product takes an accelerator less than it takes to send it off and to wait.
    """
    random = np.random.Generator(np.random.PCG64(0))

    def drawn(rows: int, columns: int) -> Any:
        matrix = random.standard_normal((min(rows, DRAWN_ROWS), columns), np.float32)
        return draw(matrix if rows <= DRAWN_ROWS else np.resize(matrix, (rows, columns)))

    def seconds(count: int) -> float:
        begun = time.perf_counter()
        for _ in range(count):
            product = multiply(left, right)
        wait(product)
        return time.perf_counter() - begun

    best = 0.0
    for rows, inner, columns in shapes:
        left, right = drawn(rows, inner), drawn(inner, columns)
        wait(multiply(left, right))
        count = 1
        while timed_seconds and seconds(count) < timed_seconds:
            count *= 2
        for _ in range(CEILING_REPEATS):
            best = max(best, 2.0 * count * rows * inner * columns / seconds(count))
    return {"flops_per_second": best}


def training_seconds(run: Mapping[str, Any]) -> float | None:
    """Seconds that a whole run trained, compilation included; None where it was not timed.

    Before version 2 of run.json, and of a peer's run, compilation is in the seconds of training.
    """
    timing = run.get("timing", {})
    apart = timing.get("compile_seconds", 0.0) if run.get("version", 1) > 1 else 0.0
    return timing["train_seconds"] + apart if "train_seconds" in timing else None


def seconds_to_target(recipe: Recipe, epochs: Sequence[Mapping[str, Any]]) -> float | None:
    """Training seconds until validation first had the accuracy that the recipe expects.

    Args:
        recipe: with or without `expected.accuracy`.
        epochs: rows of history of kind `epoch`.

    Returns:
        Seconds; None where nothing is expected or it was not reached.
    """
    target = recipe.expected.accuracy if recipe.expected else None
    if target is None:
        return None
    passed = 0.0
    for row in epochs:
        passed += float(row["seconds"])
        if row["validation"].get("accuracy", 0.0) >= target:
            return passed
    return None


def tallied(test: Mapping[str, float], rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Answer | None:
    """A whole run's test rows as counts (`zoo.score.seeds.Tally`); None where predictions are not right or wrong.

    Args:
        test: figures of the test split.
        rows: as in predictions.jsonl.
        names: of the classes, or of what else is learned.
    """
    if "accuracy" not in test:
        return None
    # F1 is of class 1 where a text has one of two classes, else a mean over the classes.
    one_of_two = len(names) == 2 and isinstance(rows[0]["label"], str)
    return tally(rows, names[1] if one_of_two else None)._asdict()
