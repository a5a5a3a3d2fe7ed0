"""`python -m zoo.bias RUN|PRESET`: which pronouns a masked language model finds likely beside which occupation.

In come a run of task: masked, or a preset with a masked-language head, and sentences: those of this repository, or of a
YAML file; out comes a table by occupation, and with --out bias.json and bias.png in a folder. Refused: what zoo.fill
refuses, and files of other things than sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import rich.table
import typer
from rich.text import Text

from zoo import cli
from zoo.data.writing import storage_errors, write_atomically
from zoo.explain.bias import OWN, measure, read_templates
from zoo.fill import ModelArgument
from zoo.finished import open_filler
from zoo.recipe.showing import as_json, shown


def bias(
    model: ModelArgument,
    templates: Annotated[
        str | None,
        typer.Option("--templates", metavar="FILE", help="A YAML file of groups, subjects and templates."),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Write bias.json and bias.png into this folder.")
    ] = None,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Which pronouns a masked language model finds likely beside which occupation.

    Example: python -m zoo.bias runs/mine --out bias
    """
    asked = read_templates(OWN if templates is None else templates)
    found = measure(open_filler(model), asked, model=model)
    if output == "json":
        print(as_json(found.as_json(), indent=2))
    else:
        table = rich.table.Table()
        for number, title in enumerate(found.columns()):
            table.add_column(Text(shown(title)), justify="right" if number else "left")
        for row in found.rows():
            table.add_row(*(Text(shown(cell)) for cell in row))
        console = cli.output()
        console.print(table)
        cli.tell(
            f"mean over {len(asked.templates)} sentences a subject; mean size of the gaps {found.mean_gap:.4f}"
            + (f"; no entries of the vocabulary: {', '.join(found.left_out)}" if found.left_out else "")
        )
    if out is not None:
        from zoo.explain.bias_plot import gaps  # matplotlib takes a while

        folder = Path(out)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in (
                ("bias.json", as_json(found.as_json(), indent=2).encode() + b"\n"),
                ("bias.png", gaps(found).png()),
            ):
                with write_atomically(folder / name) as stream:
                    stream.write(content)
        if output == "text":
            cli.tell(folder / "bias.png")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(bias, argv, name="bias")


if __name__ == "__main__":
    raise SystemExit(main())
