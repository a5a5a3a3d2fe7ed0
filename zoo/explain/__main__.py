"""`python -m zoo.explain RUN --text T`: why a run gives a text its class.

In come a finished run and a text, a pair, or test rows of the run; out come the words coloured by what they contribute,
on stdout, and a folder with pictures and explain.html. Neither data (but for test rows) nor the network is used.
Refused: an empty text, a class, row, layer or head that is not there, a run without a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from zoo import cli
from zoo.errors import RecipeError
from zoo.explain.explanation import refuse_unknown_head
from zoo.finished import Run, load_run
from zoo.recipe.faults import not_among
from zoo.recipe.showing import as_json, shown
from zoo.runs.screen import Screen
from zoo.runs.tested import tested_rows


def explain(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    text: Annotated[str | None, typer.Option("--text", help="The text to explain.")] = None,
    pair: Annotated[str | None, typer.Option("--pair", metavar="TEXT", help="The second text of a pair.")] = None,
    row: Annotated[
        list[str] | None,
        typer.Option("--row", metavar="ID", help="A test row, by its id in predictions.jsonl; may be repeated."),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="NAME", help="The class to explain. Default: the predicted one.")
    ] = None,
    layer: Annotated[
        int | None, typer.Option("--layer", metavar="N", help="Draw this layer's attention, from 0. Default: the last.")
    ] = None,
    head: Annotated[
        int | None, typer.Option("--head", metavar="N", help="Draw this head's attention, from 0. Default: the mean.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="The folder to write. Default: RUN/explain/<number>.")
    ] = None,
    task: cli.TaskOption = None,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Why a run gives a text its class: words coloured by what they contribute, attention, pictures.

    Example: python -m zoo.explain runs/mine --text "A truly great film."
    """
    done = load_run(run, task=task).finished()
    done.task.refuse("explain")
    texts = _texts(done, text, pair, row)
    names, backbone = done.task.names, done.card.blueprint.backbone
    if label is not None and label not in names:
        raise RecipeError(f"--label: {not_among(label, names)}")
    refuse_unknown_head(backbone.num_layers, backbone.num_heads, layer, head)
    results = []
    with Screen().bar("explain", len(texts)) as advance:
        for name, first, second in texts:
            found = done.explain(first, second, label=label)
            results.append((name, found, *_write(done, found, out, name if len(texts) > 1 else None, layer, head)))
            advance(1)
    if output == "json":
        documents = [{"folder": str(folder), **found.as_json(), "warnings": told} for _, found, folder, told in results]
        print(as_json(documents, indent=2))
        return 0
    console = cli.output()
    for name, found, folder, told in results:
        _show(console, name, found, folder, told)
    return 0


def _texts(
    run: Run, text: str | None, pair: str | None, rows: Sequence[str] | None
) -> list[tuple[str | None, str, str | None]]:
    """Name, text and second text of all that is to be explained."""
    if (text is None) == (not rows):
        raise RecipeError(f"--text and --row: got {'neither' if text is None else 'both'}, expected one of them")
    if text is not None:
        return [(None, text, pair)]
    if pair is not None:
        raise RecipeError("--pair: got a text, expected none with --row, which has its own: leave it out")
    return [(found.id, found.text, found.pair) for found in tested_rows(run.folder, list(dict.fromkeys(rows or ())))]


def _write(
    run: Run, found: Any, out: str | None, name: str | None, layer: int | None, head: int | None
) -> tuple[Path, tuple[str, ...]]:
    """The folder of one explanation, of several one in --out each, and its warnings."""
    from zoo.explain.page import free_folder, write

    folder = free_folder(run.path) if out is None else Path(out)
    if out is not None and name is not None:
        folder = folder / name.replace("/", "-")
    return folder, write(folder, found, run=str(run.path), layer=layer, head=head)


def _show(console: Console, name: str | None, found: Any, folder: Path, warnings: Sequence[str]) -> None:
    from zoo.explain.screen import show

    if name is not None:
        console.print(Text(shown(name), "bold"))
    show(console, found)
    for warning in warnings:
        cli.warn(warning)
    console.print(Text(shown(folder / "explain.html")), soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(explain, argv, name="explain")


if __name__ == "__main__":
    raise SystemExit(main())
