"""`python -m zoo.fill RUN|PRESET TEXT`: what a masked language model puts where a text is left open.

In come a run of task: masked, or a preset with a masked-language head, and texts with [MASK]; out come, for each mask,
the likeliest words with their probabilities. Refused: a run of another task, a preset without such a head, texts
without a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import rich.table
import typer
from rich.text import Text

from zoo import cli
from zoo.finished import open_filler
from zoo.recipe.showing import as_json, shown

ModelArgument = Annotated[
    str, typer.Argument(metavar="RUN|PRESET", help="A run of task: masked, a catalog backbone, a folder or hf://...")
]


def fill(
    model: ModelArgument,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT", help="A text with [MASK]; several may be given.")],
    top: Annotated[int, typer.Option("--top", min=1, max=1000, help="Words a mask.")] = 5,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """The likeliest words where texts are left open.

    Example: python -m zoo.fill runs/mine "I love this [MASK]."
    """
    found = open_filler(model).fill(texts, top=top)
    if output == "json":
        rows = [
            {"text": text, "masks": [[asdict(guess) for guess in mask] for mask in masks]}
            for text, masks in zip(texts, found, strict=True)
        ]
        print(as_json(rows, indent=2))
        return 0
    console = cli.output()
    for text, masks in zip(texts, found, strict=True):
        console.print(Text(shown(text)), soft_wrap=True)
        table = rich.table.Table(box=None, pad_edge=False, show_header=len(masks) > 1)
        for number in range(len(masks)):
            table.add_column(f"mask {number + 1}")
            table.add_column("", justify="right")
        for guesses in zip(*masks, strict=True):
            table.add_row(*(cell for each in guesses for cell in (Text(shown(each.word)), f"{each.probability:.4f}")))
        console.print(table)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(fill, argv, name="fill")


if __name__ == "__main__":
    raise SystemExit(main())
