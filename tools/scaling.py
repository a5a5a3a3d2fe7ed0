"""What many devices that are not here would make of a recipe: predicted by roofline, from the compiled step.

    python tools/scaling.py imdb_bert --device h100 --devices 2 --devices 8
    python tools/scaling.py --write --compilers compilers          # the tables of docs/scaling.md, half an hour

The step is compiled for each number of devices, each of which has the recipe's `training.batch_size` rows: what the
devices send each other stands in the program. Two times come of it: the least that a step can take, where all of that
goes on while the step is computed, and the most that what is told adds up to, where none of it does. Nothing of it is
measured: a device takes longer than its peaks say. docs/accelerators.md says where the compilers come from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import typer  # noqa: E402
from rich.table import Table  # noqa: E402

import recipes  # noqa: E402
from tools.compile_for import figures, folder_of  # noqa: E402
from tools.render_docs import filled  # noqa: E402
from tools.render_docs import table as in_markdown  # noqa: E402
from zoo import cli  # noqa: E402
from zoo.backend import CompiledProgram  # noqa: E402
from zoo.backend.compilers import TARGETS, Target, version_of  # noqa: E402
from zoo.errors import EXIT_DONE, TrainingError  # noqa: E402
from zoo.recipe.estimate import Machine, machine_named  # noqa: E402
from zoo.training.compile_request import ask  # noqa: E402

PAGE = "docs/scaling.md"
SHOWN: dict[str, tuple[int, ...]] = {"h100": (1, 8), "v5e": (1, 8, 256)}
"""Numbers of devices on the page, by device."""
RECIPES = ("imdb_bert", "sst2_roberta")
HEADER = (
    *("devices", "rows a step", "computed in", "sent by a device", "sent in", "least step", "most", "texts a second"),
    "of N times one",
)


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """A step on so many devices: seconds of a device's own work, by the roofline or its products alone; the bytes that
    each device sends, and by what kinds of operations."""

    devices: int
    rows: int
    computed: float
    sent: float
    kinds: str
    link: float

    @property
    def exchanged(self) -> float:
        return self.sent / self.link

    @property
    def least(self) -> float:
        """Where all that is sent goes on beside the work."""
        return max(self.computed, self.exchanged)

    @property
    def most(self) -> float:
        """Where the work waits for all of it."""
        return self.computed + self.exchanged

    def cells(self, one: Scaled) -> tuple[str, ...]:
        """A row of the table; one: the same on a single device."""
        rates = [self.rows / seconds for seconds in (self.most, self.least)]
        alone = self.devices * one.rows / one.computed
        return (
            str(self.devices),
            f"{self.rows:,}",
            f"{1e3 * self.computed:.1f} ms",
            f"{self.sent / 1e6:,.0f} MB{f' ({self.kinds})' if self.kinds else ''}",
            f"{1e3 * self.exchanged:.1f} ms",
            f"{1e3 * self.least:.1f} ms",
            f"{1e3 * self.most:.1f} ms",
            _span(*(f"{rate:,.0f}" for rate in rates)),
            _span(*(f"{rate / alone:.0%}" for rate in rates)),
        )


def scaled(program: CompiledProgram, machine: Machine, *, computed: float, rows: int, devices: int) -> Scaled:
    """What a program compiled for so many devices comes to.

    By a ring each device sends an array that is summed twice but for its own share, and one that is gathered once
    (Patarasuk and Yuan 2009, section 3); no way of doing it sends less.
    """
    if machine.link is None:
        raise ValueError(f"{machine.name} has no link to others")
    others = (devices - 1) / devices
    times = {"all-reduce": 2.0 * others}
    found = program.collectives if devices > 1 else {}
    return Scaled(
        devices=devices,
        rows=rows,
        computed=computed,
        sent=sum(each.bytes * times.get(kind, others) for kind, each in found.items()),
        kinds=", ".join(f"{each.count} {kind}" for kind, each in sorted(found.items())),
        link=machine.link,
    )


def predicted(name: str, target: Target, devices: int, folder: Path | None) -> Scaled | str:
    """A recipe's training step on so many devices; why not, where it does not fit."""
    recipe = recipes.load(name)
    rows = recipe.training.batch_size * devices
    # Of a batch of prediction nothing is told: the fewest rows are compiled soonest.
    recipe = recipe.override({"training.batch_size": rows, "training.eval_batch_size": devices})
    answer = ask(recipe, target, devices=devices, stock=False, folder=folder)
    program, machine = answer.training.own, machine_named(target.machine)
    if not isinstance(program, CompiledProgram):
        return program
    found = figures(program, answer.training, machine, precision=answer.precision, devices=devices, steps=answer.steps)
    computed = found.products if found.roofline is None else found.roofline.seconds
    return scaled(program, machine, computed=computed, rows=rows, devices=devices)


def table(name: str, target: Target, counts: Sequence[int], folder: Path | None) -> Iterator[tuple[str, ...]]:
    """The rows of a recipe's table, each as it is compiled; the first is that of one device."""
    one = predicted(name, target, 1, folder)
    if isinstance(one, str):
        raise TrainingError(f"{name} does not fit in one {target.machine} ({one}): set training.accumulate")
    for count in counts:
        found = one if count == 1 else predicted(name, target, count, folder)
        yield (str(count), found, *[""] * (len(HEADER) - 2)) if isinstance(found, str) else found.cells(one)


def scaling(
    recipe: Annotated[str | None, typer.Argument(metavar="RECIPE", help="A shipped recipe, as imdb_bert.")] = None,
    device: Annotated[Literal["v5e", "v6e", "h100", "a100"], typer.Option("--device", help="Of what.")] = "v5e",
    devices: Annotated[list[int] | None, typer.Option("--devices", metavar="N", help="How many; repeat it.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the tables of docs/scaling.md.")] = False,
    compilers: Annotated[Path | None, typer.Option("--compilers", metavar="DIR", help="As compile_for.py.")] = None,
    debug: cli.DebugOption = False,
) -> int:
    """What many devices that are not here would make of a recipe: predicted, not measured."""
    folder = folder_of(compilers)
    if write:
        _write(folder)
        return EXIT_DONE
    shown = Table(box=None, pad_edge=False)
    for column in HEADER:
        shown.add_column(column, justify="right")
    for cells in table(recipe or RECIPES[0], TARGETS[device], devices or SHOWN.get(device, (1, 8)), folder):
        shown.add_row(*cells)
    cli.output(width=200).print(shown)
    cli.tell("predicted by roofline from the compiled step, not measured")
    return EXIT_DONE


def _write(folder: Path | None) -> None:
    pieces = list[str]()
    for name in RECIPES:
        for device, counts in SHOWN.items():
            target, rows = TARGETS[device], list[tuple[str, ...]]()
            for cells in table(name, target, counts, folder):
                cli.tell(f"{name} on {target.machine}: {', '.join(cells)}")
                rows.append(cells)
            title = f"### {name} on {target.machine} ({version_of(target, folder)})"
            pieces.append(f"{title}\n\n{in_markdown(HEADER, rows)}")
    (ROOT / PAGE).write_text(filled(PAGE, scaling=lambda: "\n".join(pieces).rstrip("\n")), encoding="utf-8")


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command: arguments in, exit code out."""
    return cli.run_command(scaling, argv, name="scaling")


if __name__ == "__main__":
    raise SystemExit(main())
