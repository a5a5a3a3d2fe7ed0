"""`python -m zoo.audit RUN`: what there is to doubt in the data of a run.

In comes the folder of a run; out come likely label errors, near duplicates within and across splits, and words that
tell the label, the most doubtful first: on stdout, in audit.csv and audit.json in the run's folder, and in its report.
No network is used. Refused: data that have changed since the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zoo import cli
from zoo.audit.found import Audit, as_csv, told_label
from zoo.audit.looking import BATCH, audit
from zoo.recipe.showing import as_json, shown
from zoo.report.report import tested_texts, write_report
from zoo.runs.opening import open_whole
from zoo.runs.recorded import AUDIT
from zoo.runs.screen import Screen

MOST = 10
"""Rows of a table on the screen."""
IN_A_GROUP = 2
"""Near duplicates of a group there."""
LONGEST = 90
"""Characters of a text there."""


def look(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run.")],
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Rows a batch, where the backbone is asked.")
    ] = BATCH,
    task: cli.TaskOption = None,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Likely label errors, near duplicates, and words that tell the label, in the data of a run.

    Example: python -m zoo.audit runs/mine --format json
    """
    folder = open_whole(run)
    screen = Screen()
    found = audit(folder, screen, task=task, batch_size=batch_size)
    table, document = folder.write_text("audit.csv", as_csv(found)), folder.write_json(AUDIT, found.as_json())
    page, warnings = write_report(folder, *tested_texts(folder))
    if output == "json":
        print(as_json(found.as_json(), indent=2))
        return 0
    show(cli.output(), found)
    for warning in warnings:
        cli.warn(warning)
    for path in (table, document, page):
        cli.tell(path)
    return 0


def show(console: Console, found: Audit) -> None:
    """The counts, and the first of each kind."""
    counts, rows = found.counts, sum(found.rows.values())
    cli.tell_of("rows", ", ".join(f"{count:,} {split}" for split, count in found.rows.items()))
    if found.source is not None:
        share = counts["label_errors"] / max(1, found.judged)
        cli.tell_of("labels", f"{counts['label_errors']:,} of {found.judged:,} are likely wrong ({share:.1%})")
        cli.tell_of("", f"by {found.source}")
    cli.tell_of(
        "alike",
        f"{counts['near_duplicate_rows']:,} of {rows:,} rows in {counts['near_duplicate_groups']:,} groups: "
        f"{counts['groups_across_splits']:,} across splits, {counts['contradicting_groups']:,} with other labels",
    )
    if found.source is not None:
        cli.tell_of(
            "words",
            f"that tell the label nearly alone: {counts['telling_words']:,}, in {counts['telling_rows']:,} rows",
        )
    for what, reason in found.left_out.items():
        cli.tell_of("left out", f"{what.replace('_', ' ')}: {reason}")
    for table in _tables(found):
        console.print(table)


def _tables(found: Audit) -> list[Table]:
    tables = []
    if found.label_errors:
        table = _table("Likely label errors", ("row", "label", "rather", "probability", "text"))
        for error in found.label_errors[:MOST]:
            labels = told_label(error.label), told_label(error.suggested)
            table.add_row(*_cells(error.id, *labels, f"{error.probability:.3f}", error.text))
        tables.append(table)
    if found.groups:
        table = _table("Near duplicates", ("alike", "rows", "row", "label", "text"))
        for group in sorted(found.groups, key=lambda each: -each.across - each.contradicting)[:MOST]:
            for number, row in enumerate(group.unlike(IN_A_GROUP)):
                of_group = ("", "") if number else (f"{group.similarity:.0%}", f"{len(group.rows):,}")
                table.add_row(*_cells(*of_group, row.id, told_label(row.label), row.text))
            table.add_section()
        tables.append(table)
    if found.telling:
        table = _table("The label in the text", ("what", "word", "label", "rows", "of the label"))
        for each in found.telling[:MOST]:
            table.add_row(*_cells(each.kind, each.word, each.label, f"{each.count:,}", f"{each.agreeing:,}"))
        tables.append(table)
    return tables


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def _cells(*cells: str) -> list[Text]:
    return [Text(shown(" ".join(cell.split())[:LONGEST])) for cell in cells]


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(look, argv, name="audit")


if __name__ == "__main__":
    raise SystemExit(main())
