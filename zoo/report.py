"""`python -m zoo.report RUN`: render report.html and plots/ again from a run folder.

In comes the folder of a run, finished or broken off; out come its pictures and its page, and the page's path
on stdout. Neither a backend nor the network is used. The texts of the mistakes are read from the run's data
again; where these are not at hand the ids stand alone, and a warning says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from zoo import cli
from zoo.results.report import tested_texts, write_report
from zoo.results.run_folder import open_run


def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The folder of a run, as runs/imdb_bert/jax-20260101-120000.")
    ],
    format: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Render report.html and plots/ again from a run folder, as zoo report runs/mine."""
    folder = open_run(run)
    path, warnings = write_report(folder, *tested_texts(folder))
    if format == "json":
        print(json.dumps({"report": str(path), "warnings": list(warnings)}))
    else:
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print(path)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(report, argv, name="report")


if __name__ == "__main__":
    raise SystemExit(main())
