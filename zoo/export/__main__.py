"""`python -m zoo.export RUN --to FORMAT`: a finished run for other programs, checked by them.

In comes the folder of a run; out come files in the format asked for, and on stdout their folder and how far the other
program's probabilities are from the run's own. Refused: an unknown run or format, a folder that holds something, and,
with nothing left behind, files from which the other program computes something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.filesize import decimal

from zoo import cli
from zoo.export import Exported, FormatName
from zoo.finished import load_run
from zoo.recipe.showing import as_json

PROGRAMS: dict[str, str] = {
    "hf": "transformers",
    "keras_hub": "keras-hub",
    "keras": "Keras with keras-hub",
    "onnx": "onnxruntime",
    "onnx_int8": "onnxruntime, smaller and quicker, for nearly the same labels",
    "tf_saved_model": "TensorFlow",
}


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    to: Annotated[
        FormatName, typer.Option("--to", help="; ".join(f"{name}: for {what}" for name, what in PROGRAMS.items()))
    ],
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="A new or empty folder. Default: RUN/export/FORMAT.")
    ] = None,
    task: cli.TaskOption = None,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Write a finished run in another program's format, and check it there.

    Example: python -m zoo.export runs/mine --to onnx
    """
    done = load_run(run, task=task).finished().export(to, out)
    for warning in done.warnings:
        cli.warn(warning)
    if output == "json":
        print(as_json(asdict(done) | {"path": str(done.path)}, indent=2))
    else:
        _show(done)
    return 0


def _show(done: Exported) -> None:
    if done.checked_by is not None:
        cli.tell_wrapped(
            f"checked by {done.checked_by} on {done.rows} {done.rows_from}: the largest difference of a value is "
            f"{done.difference:.1e}, and {done.agreement:.1%} of the labels are the same"
        )
    if done.speeds:
        each = ", ".join(f"{name} {speed:,.0f} texts a second" for name, speed in done.speeds.items())
        cli.tell_wrapped(f"measured here: {each} ({done.speeds['int8'] / done.speeds['float32']:.2f} times)")
    if done.sizes:
        share = done.sizes["int8"] / done.sizes["float32"]
        each = ", ".join(f"{name} {decimal(size)}" for name, size in done.sizes.items())
        print(f"the model alone: {each} ({share:.0%})")
    cli.tell_wrapped(f"{', '.join(done.files)}: {decimal(sum(done.files.values()))}")
    cli.tell(done.path)


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(export, argv, name="export")


if __name__ == "__main__":
    raise SystemExit(main())
