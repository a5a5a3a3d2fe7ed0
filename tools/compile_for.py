"""What a TPU or a GPU that is not here would make of a recipe: memory, work and the least time of its steps.

    python tools/compile_for.py imdb_bert --device v5e              # minutes
    python tools/compile_for.py imdb_bert --device h100 --stock     # beside keras-hub's own classifier
    python tools/compile_for.py imdb_bert --device v5e --devices 4 --format json

In comes a recipe; the device's own compiler, of jax's TPU or CUDA package, compiles the very steps that a run takes, in
a process of its own (zoo/training/compile_steps.py), and out goes what it says. No weights are made or fetched, and
`zoo check` reads what is kept of it. docs/accelerators.md says where the compilers come from; the exit codes are those
of `zoo`, 5 where the training step does not fit in the device's memory.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import typer  # noqa: E402
from rich.filesize import decimal  # noqa: E402
from rich.table import Table  # noqa: E402

from zoo import cli  # noqa: E402
from zoo.backend import CompiledProgram, versions  # noqa: E402
from zoo.backend.compilers import COMPILERS, TARGETS, Target, version_of  # noqa: E402
from zoo.errors import EXIT_DONE, TrainingError  # noqa: E402
from zoo.recipe import load_recipe  # noqa: E402
from zoo.recipe.estimate import Machine, Precision, Roofline, machine_named  # noqa: E402
from zoo.training.compile_request import Answer, Step, ask  # noqa: E402

STOCK = "keras-hub's "
"""Before the name of a step that is not the recipe's own."""


_UNITS = {"T": 1e12, "G": 1e9, "M": 1e6}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a compiled step comes to on a device, in seconds.

    roofline is None where the compiler does not tell operations and bytes. products: of the model's matrix products
    alone. recipe: of all training steps by the roofline, or by the products where there is none; None of a prediction.
    """

    program: CompiledProgram
    roofline: Roofline | None
    products: float
    recipe: float | None


def compile_for(
    recipe: cli.RecipeArgument,
    device: Annotated[Literal["v5e", "v6e", "h100", "a100"], typer.Option("--device", help="What to compile for.")],
    devices: Annotated[
        int, typer.Option("--devices", metavar="N", help="How many of it share a batch, each with all weights.")
    ] = 1,
    stock: Annotated[
        bool, typer.Option("--stock", help="Compile keras-hub's own classifier with Keras's AdamW beside it.")
    ] = False,
    compilers: Annotated[
        Path | None,
        typer.Option(
            "--compilers", metavar="DIR", help=f"Where pip install --target put the compiler; else ${COMPILERS}."
        ),
    ] = None,
    profile: cli.ProfileOption = None,
    changes: cli.SetOption = None,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """What a TPU or a GPU that is not here would make of a recipe: memory, work and the least time of its steps."""
    target, folder = TARGETS[device], folder_of(compilers)
    found = load_recipe(cli.find_recipe(recipe), profile=profile, overrides=changes or ())
    answer = ask(found, target, devices=devices, stock=stock, folder=folder)
    compiler = f"{version_of(target, folder)}, jax {versions('jax')['jax']}"
    title = (
        f"{found.name}{f', profile {profile}' if profile else ''}: rows of {answer.training.length} tokens, "
        f"{answer.precision}, on {devices} x {target.machine} ({compiler})"
    )
    if output == "json":
        print(json.dumps(as_json(answer, target, devices) | {"title": title}, indent=2))
    else:
        show(answer, target, devices, title, packing=found.training.packing)
    return EXIT_DONE if isinstance(answer.training.own, CompiledProgram) else TrainingError.exit_code


def folder_of(asked: Path | None) -> Path | None:
    """Where the compilers lie: as asked for, else as the environment says; None looks where Python looks."""
    given = os.environ.get(COMPILERS)
    return asked or (Path(given) if given else None)


def figures(
    program: CompiledProgram, step: Step, machine: Machine, *, precision: Precision, devices: int, steps: int | None
) -> Figures:
    """What a step comes to.

    Args:
        program: of the step.
        step: what it is.
        machine: what it was compiled for.
        precision: of its products.
        devices: how many share it.
        steps: of the whole recipe; None for a prediction.
    """
    work = program.work
    roofline = None if work is None else machine.roofline(*work, precision)
    products = machine.roofline(step.products / devices, 0.0, precision).seconds
    a_step = products if roofline is None else roofline.seconds
    return Figures(
        program=program, roofline=roofline, products=products, recipe=None if steps is None else steps * a_step
    )


def of_answer(answer: Answer, target: Target, devices: int) -> dict[str, Figures | str]:
    """The figures of all steps by name, in order, or why one was not compiled."""
    machine = machine_named(target.machine)
    found: dict[str, Figures | str] = {}
    for name, step, steps in (("training", answer.training, answer.steps), ("prediction", answer.prediction, None)):
        for whose, program in (("", step.own), (STOCK, step.stock)):
            if isinstance(program, CompiledProgram):
                found[whose + name] = figures(
                    program, step, machine, precision=answer.precision, devices=devices, steps=steps
                )
            elif program is not None:
                found[whose + name] = program
    return found


def as_json(answer: Answer, target: Target, devices: int) -> dict[str, Any]:
    """All figures in plain values, times in seconds, sizes in bytes."""
    return {
        "device": target.machine,
        "devices": devices,
        "precision": answer.precision,
        "length": answer.training.length,
        "rows": {"training": answer.training.rows, "prediction": answer.prediction.rows},
        "steps": answer.steps,
        "programs": {
            name: {"refused": each}
            if isinstance(each, str)
            else asdict(each)
            | {
                "memory": each.program.memory,
                "seconds": each.roofline and each.roofline.seconds,
                "bound": each.roofline and each.roofline.bound,
            }
            for name, each in of_answer(answer, target, devices).items()
        },
    }


def show(answer: Answer, target: Target, devices: int, title: str, *, packing: bool) -> None:
    """A column a step, beside ours keras-hub's, and the ratio of the two."""
    machine, every = machine_named(target.machine), of_answer(answer, target, devices)
    found = {name: each for name, each in every.items() if isinstance(each, Figures)}
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    rows = {"training": answer.training.rows, "prediction": answer.prediction.rows}
    for name in found:
        table.add_column(f"{name}, {rows[name.removeprefix(STOCK)]} rows", justify="right")
        if name.startswith(STOCK):
            table.add_column("ours / it", justify="right")
    for label, value, written in lines(machine, answer, list(found.values())):
        cells = []
        for name, each in found.items():
            number = value(each)
            cells.append("" if number is None else written(number))
            if name.startswith(STOCK):
                ours = found.get(name.removeprefix(STOCK))
                own = None if ours is None else value(ours)
                cells.append(f"{own / number:.2f}" if own is not None and number else "")
        if any(cells):
            table.add_row(label, *cells)
    cli.tell(title)
    cli.output(width=200).print(table)
    for name, why in every.items():
        if isinstance(why, str):
            cli.tell(f"{name} was not compiled: {why}")
    for note in notes(machine, list(found.values()), devices=devices, packing=packing):
        cli.tell(note)


Line = tuple[str, Callable[[Figures], float | None], Callable[[float], str]]


def lines(machine: Machine, answer: Answer, columns: Sequence[Figures]) -> list[Line]:
    """What is shown of a step: a label, the number of a column, None where it has none, and how that is written."""
    kinds = sorted({kind for each in columns for kind in each.program.collectives})
    whole = f"{answer.steps:,} training steps" + (", the products alone" if any(map(_silent, columns)) else "")
    return [
        ("arguments", lambda f: f.program.arguments, _bytes),
        ("results that replace no argument", lambda f: f.program.results - f.program.aliased, _bytes),
        ("temporaries", lambda f: f.program.temporaries, _bytes),
        ("code", lambda f: f.program.code or None, _bytes),
        (f"memory, of {decimal(round(machine.memory or 0))}", lambda f: f.program.memory, _bytes),
        ("operations", lambda f: f.program.operations, _operations),
        ("bytes accessed", lambda f: f.program.bytes_accessed, _bytes),
        ("from and to main memory alone", lambda f: f.program.main_memory, _bytes),
        ("of the bytes accessed by kernels of our own", lambda f: f.program.kernels.bytes or None, _bytes),
        *((f"sent by {kind}", partial(_sent, kind), _bytes) for kind in kinds),
        (
            f"operations at {machine.flops[answer.precision] / 1e12:,.0f} TFLOP/s in {answer.precision}",
            lambda f: None if f.roofline is None else f.roofline.arithmetic,
            _seconds,
        ),
        (
            f"bytes at {machine.bandwidth / 1e9:,.0f} GB/s",
            lambda f: None if f.roofline is None else f.roofline.traffic,
            _seconds,
        ),
        (
            "a step by roofline, the longer of the two",
            lambda f: None if f.roofline is None else f.roofline.seconds,
            _seconds,
        ),
        ("the model's products alone, at that peak", lambda f: f.products, _seconds),
        (whole, lambda f: f.recipe, _seconds),
        ("compiled in", lambda f: f.program.compile_seconds, _seconds),
    ]


def notes(machine: Machine, columns: Sequence[Figures], *, devices: int, packing: bool) -> list[str]:
    """What the table needs to be understood."""
    silent = sum(each.program.kernels.count - each.program.kernels.estimated for each in columns if each.roofline)
    large = sum(each.program.memory > (machine.memory or math.inf) for each in columns)
    told = {
        "The compiler tells neither operations nor bytes: a step takes longer than the model's matrix products, which "
        "are counted from its sizes.": any(map(_silent, columns)),
        f"{silent} kernels of our own do not say what they cost: the bytes are more than that.": silent,
        f"Figures are of one of {devices} devices; what these send each other takes time beside them.": devices > 1,
        "Training packs texts: the step is that of rows which one text fills each.": packing,
        f"{large} of {len(columns)} steps take more memory than the device has.": large,
    }
    return [text for text, holds in told.items() if holds]


def _silent(each: Figures) -> bool:
    return each.roofline is None


def _sent(kind: str, each: Figures) -> float | None:
    found = each.program.collectives.get(kind)
    return None if found is None else found.bytes


def _bytes(number: float) -> str:
    return decimal(round(number))


def _operations(number: float) -> str:
    return next(f"{number / unit:.4g} {name}" for name, unit in _UNITS.items() if number >= unit or name == "M")


def _seconds(number: float) -> str:
    if number < 1:
        return f"{1e3 * number:.3g} ms" if number >= 1e-3 else f"{1e6 * number:.3g} µs"
    return f"{number:.3g} s" if number < 300 else f"{number / 60:.3g} min"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return cli.run_command(compile_for, argv, name="compile_for", program="python tools/compile_for.py")


if __name__ == "__main__":
    raise SystemExit(main())
