"""What was measured, for people: tables on the screen and in Markdown, and a chart.

In comes the document of compare.py (plain values, as in its JSON); out come `Table`s, their two renderings, and a PNG.
What was not measured is a dash or a reason, never a number. Nothing is refused.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import seaborn
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.measure import Measurement
from rich.table import Table as RichTable

from benchmarks import protocol

NOTHING = "-"
PANELS = (
    ("train_tokens_per_second", "Training, real tokens a second"),
    ("predict_examples_per_second", "Prediction, texts a second"),
    ("model_flop_utilisation", "Training, share of the matmul ceiling"),
)
BOUNDS = {"seeds": "Student's t, seeds", "rows": "Wilson, test rows"}
"""What the bounds of a verdict are made from, in words."""
WORDS = {"accuracy": "accuracy", "f1": "F1", "hours": "training"}
"""What the figures of a verdict are called."""
WIDTH = 100
"""Columns of a screen that is none: of a file or a pipe."""
LONGEST = 48
"""Characters of a cell that are never folded, of a screen that has as many."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns and rows of text under a title; the first `keys` columns say what a row is of."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    keys: int = 2


def tables(document: Mapping[str, Any]) -> list[Table]:
    """The tables of a document that hold any row."""
    found = [
        *(checks(document), expected_results(document), bounds(document), subjects(document), not_run(document)),
        seeds(document),
        *(speed(document), ways(document), ratios(document), whole_runs(document), device(document)),
    ]
    return [table for table in found if table.rows]


def expected_results(document: Mapping[str, Any]) -> Table:
    """What each contender reached over its seeds, a figure a row, and whether that is what the recipe expects."""
    columns = ("Recipe", "By", "Figure", "Seeds", "Mean", "SD", "Expected", "Verdict")
    rows = [
        (
            *(_name(row), row["contender"], WORDS[name], _seeds(row)),
            *(_figure(name, figure[key]) for key in ("mean", "deviation", "target")),
            figure["verdict"] or NOTHING,
        )
        for row in document.get("verdicts", ())  # documents of before have none
        for name, figure in row["figures"].items()
    ]
    title = "Expected results: mean and standard deviation (SD) over seeds"
    return Table(title=title, columns=columns, rows=rows, keys=3)


def bounds(document: Mapping[str, Any]) -> Table:
    """What the verdicts go by."""
    columns = ("Recipe", "By", "Figure", "Low", "High", "Made from")
    rows = [
        (
            *(_name(row), row["contender"], WORDS[name]),
            *(_figure(name, figure[key]) for key in ("low", "high")),
            BOUNDS[figure["by"]],
        )
        for row in document.get("verdicts", ())
        for name, figure in row["figures"].items()
        if figure["by"] is not None
    ]
    return Table(title="One-sided 95% bounds of these means", columns=columns, rows=rows, keys=3)


def subjects(document: Mapping[str, Any]) -> Table:
    """The model and the data of each recipe."""
    rows = dict.fromkeys((_name(row), row["model"], row["dataset"]) for row in document.get("verdicts", ()))
    return Table(title="Recipes", columns=("Recipe", "Model", "Dataset"), rows=tuple(rows), keys=1)


def not_run(document: Mapping[str, Any]) -> Table:
    """What has no whole run, and why."""
    rows = [
        (_name(row), row["contender"], row["verdict"]) for row in document.get("verdicts", ()) if not row["figures"]
    ]
    return Table(title="No whole run", columns=("Recipe", "By", "Why"), rows=rows)


def seeds(document: Mapping[str, Any]) -> Table:
    """What each whole run reached."""
    rows = [
        (
            _name(row),
            row["contender"],
            str(row["seed"]),
            interval(row.get("test")),
            number(row.get("test", {}).get("f1"), "{:.4f}"),
            duration(protocol.training_seconds(row)),
            row["outcome"],
        )
        for row in document["results"]
        if "test" in row or "failed" in row
    ]
    columns = ("Recipe", "By", "Seed", "Accuracy (95%)", "F1", "Training", "Outcome")
    return Table(title="Runs by seed", columns=columns, rows=rows, keys=3)


def whole_runs(document: Mapping[str, Any]) -> Table:
    """Where the time of whole runs went."""
    parts = ("import", "tokenize", "build", "compile", "train", "evaluate", "total")
    columns = ("Recipe", "By", "Seed", *(part.capitalize() for part in parts))
    rows = [
        (
            _name(row),
            row["contender"],
            str(row["seed"]),
            *(duration(row["timing"].get(f"{part}_seconds")) for part in parts),
            number(row["timing"].get("tokens_per_second"), "{:,.0f}"),
            _memory(row["memory"]),
            duration(row.get("time_to_target_seconds")),
        )
        for row in document["results"]
        if "timing" in row
    ]
    return Table(title="Whole runs", columns=(*columns, "Tokens/s", "Peak memory", "To target"), rows=rows, keys=3)


def speed(document: Mapping[str, Any]) -> Table:
    """The steady state, and what came before it."""
    columns = ("Recipe", "By", "Precision", "Import", "Tokenize", "Build", "First steps", "Shapes", "Padding")
    figures = ("Train examples/s", "Train tokens/s", "Utilisation", "Ceiling GFLOP/s", "Predict texts/s", "Peak memory")
    rows = []
    for each in document["speed"]:
        for row in each["rows"]:
            if "failed" in row:
                blank = [NOTHING] * (len(columns) + len(figures) - 3)
                rows.append((_name(each), row["contender"], row["failed"], *blank))
                continue
            seconds = row["seconds"]
            first = row.get("compile_seconds")
            rows.append(
                (
                    _name(each),
                    row["contender"],
                    row["precision"],
                    *(duration(seconds.get(part)) for part in ("import", "tokenize", "build")),
                    duration(sum(first.values()) if first else None),
                    number(row.get("shapes"), "{}"),
                    number(row.get("padding_fraction"), "{:.1%}"),
                    spread(row.get("train_examples_per_second"), "{:,.1f}"),
                    spread(row.get("train_tokens_per_second"), "{:,.0f}"),
                    spread(row.get("model_flop_utilisation"), "{:.1%}"),
                    spread(_in_giga(row.get("ceiling_flops_per_second")), "{:,.0f}"),
                    spread(row.get("predict_examples_per_second"), "{:,.1f}"),
                    _memory(row["memory"]),
                )
            )
    return Table(title="Speed: median (quartiles) of blocks", columns=columns + figures, rows=rows)


def ways(document: Mapping[str, Any]) -> Table:
    """On an accelerator: how it was computed there, and what the maker's data sheet says of such products."""
    rows = []
    for each in document["speed"]:
        for row in each["rows"]:
            sheet, train = row.get("data_sheet_flops_per_second"), row.get("train_flops_per_second")
            if sheet is None and "way" not in row:
                continue
            ceiling = row.get("ceiling_flops_per_second")
            rows.append(
                (
                    _name(each),
                    row["contender"],
                    row["precision"],
                    row.get("way", NOTHING),
                    NOTHING if ceiling is None else f"{ceiling['median'] / 1e12:,.0f}",
                    NOTHING if sheet is None else f"{sheet / 1e12:,.0f}",
                    NOTHING if sheet is None or train is None else f"{train['median'] / sheet:.1%}",
                )
            )
    columns = ("Recipe", "By", "Precision", "Way", "Ceiling TFLOP/s", "Data sheet TFLOP/s", "Training, of data sheet")
    return Table(title="On the accelerator", columns=columns, rows=rows)


def checks(document: Mapping[str, Any]) -> Table:
    """What was checked on a device, of `make gpu-bench`."""
    rows = [
        (
            row["check"],
            " ".join(row["of"]),
            "failed" if "failed" in row else "left out" if "left_out" in row else "done",
            duration(row.get("seconds")),
            str(row.get("failed") or row.get("left_out") or row.get("said")),
        )
        for row in document.get("checks", ())
    ]
    return Table(title="Checks", columns=("Check", "Of", "Outcome", "Took", "What it said"), rows=rows)


def device(document: Mapping[str, Any]) -> Table:
    """What is known of the accelerator."""
    told = document.get("accelerator", {})
    named = {f"GPU {number}": gpu for number, gpu in enumerate(told.get("gpus", ()))}
    named |= {key: told[key] for key in ("visible", "libraries") if told.get(key)}
    rows = [(key, ", ".join(f"{name} {value}" for name, value in each.items())) for key, each in named.items()]
    rows += [(key.replace("_", " "), str(told[key])) for key in ("unknown", "driver_cuda", "tpu_chips") if key in told]
    return Table(title="The accelerator", columns=("What", "Told"), rows=rows)


def ratios(document: Mapping[str, Any]) -> Table:
    """Zoo over peer, medians of the ratios of each round."""
    rows = [
        (_name(each), figure, ours, peer, spread(values, "{:.2f}"))
        for each in document["speed"]
        for figure, peers in each["ratios"].items()
        for peer, contenders in peers.items()
        for ours, values in contenders.items()
    ]
    rows += [
        (_name(each), "share of equal labels", ours, "hf_pipeline", number(share, "{:.3f}"))
        for each in document["speed"]
        for ours, share in each["equal_labels"].items()
    ]
    columns = ("Recipe", "Figure", "Zoo", "Peer", "Ratio (quartiles)")
    return Table(title="Zoo over peer", columns=columns, rows=rows, keys=4)


def show(document: Mapping[str, Any], console: Console) -> None:
    """All tables on a screen; one that is wider goes on below under its first columns."""
    for table in tables(document):
        for number, columns in enumerate(_parts(table, console)):
            # Above and not in the table, whose width a title would be broken to.
            console.print(f"{table.title}, continued" if number else table.title, style="italic")
            console.print(_drawn(table, columns))


def _drawn(table: Table, columns: Sequence[int]) -> RichTable:
    """These columns of a table."""
    drawn = RichTable(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for column in columns:
        drawn.add_column(table.columns[column], overflow="fold", max_width=LONGEST)
    for row in table.rows:
        drawn.add_row(*(row[column].replace("[", r"\[") for column in columns))
    return drawn


def _parts(table: Table, console: Console) -> list[list[int]]:
    """Which columns stand beside each other: the keys in each part, and as many others as the screen has room for."""
    unbound = console.options.update(width=100 * LONGEST)
    keys = list(range(table.keys))
    parts = [keys]
    for column in range(table.keys, len(table.columns)):
        longer = [*parts[-1], column]
        room = Measurement.get(console, unbound, _drawn(table, longer)).maximum <= console.width
        parts = [*parts[:-1], longer] if room or parts[-1] == keys else [*parts, [*keys, column]]
    return parts


def markdown(document: Mapping[str, Any]) -> str:
    """All tables as a page."""
    page = [f"# Measured on {document['date']}\n\n{document['machine']}\n\n{_versions(document['versions'])}\n"]
    for table in tables(document):
        lines: list[tuple[str, ...]] = [table.columns, ("---",) * len(table.columns), *table.rows]
        page.append(f"\n## {table.title}\n\n" + "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines))
    return "".join(page)


def chart(document: Mapping[str, Any]) -> bytes | None:
    """Speed with quartiles and accuracy with its 95% interval, a panel each, as PNG; None without any."""
    panels = [
        (f"{_name(each)}: {title}", bars)
        for each in document["speed"]
        for figure, title in PANELS
        if (bars := [(row["contender"], row[figure]) for row in each["rows"] if figure in row])
    ]
    for name in dict.fromkeys(_name(row) for row in document["results"]):
        bars = [
            (f"{row['contender']} seed {row['seed']}", _as_spread(row["test"]))
            for row in document["results"]
            if _name(row) == name and "accuracy" in row.get("test", {})
        ]
        if bars:
            panels.append((f"{name}: test accuracy, 95% interval", bars))
    if not panels:
        return None
    style = seaborn.axes_style("whitegrid") | {"text.parse_math": False}
    colours = seaborn.color_palette("colorblind")
    buffer = io.BytesIO()
    with mpl.rc_context(style):
        heights = [0.8 + 0.36 * len(bars) for _, bars in panels]
        figure = Figure(figsize=(9.0, sum(heights)), layout="constrained")
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, bars) in zip(grid, panels, strict=True):
            middles = [value["median"] for _, value in bars]
            reach = [
                [value["median"] - value["low"] for _, value in bars],
                [value["high"] - value["median"] for _, value in bars],
            ]
            colour = [colours[1] if name.startswith("hf_") else colours[0] for name, _ in bars]
            axes.barh(range(len(bars)), middles, 0.7, xerr=reach, color=colour, capsize=3)
            axes.set_yticks(range(len(bars)), [name for name, _ in bars])
            axes.invert_yaxis()
            axes.grid(visible=False, axis="y")
            axes.set_title(title, loc="left", fontsize=11)
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def number(value: float | None, form: str) -> str:
    """A number in this form; a dash where there is none."""
    return NOTHING if value is None else form.format(value)


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them."""
    if seconds is None:
        return NOTHING
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    return f"{seconds / 60.0:.1f} min" if seconds < 3600.0 else f"{seconds / 3600.0:.2f} h"


def interval(test: Mapping[str, float] | None) -> str:
    """Accuracy with its Wilson interval."""
    if test is None or "accuracy" not in test:
        return NOTHING
    return f"{test['accuracy']:.4f} ({test['accuracy_low']:.4f} to {test['accuracy_high']:.4f})"


def _figure(name: str, value: float | None) -> str:
    """A figure of a verdict, in its unit."""
    return NOTHING if value is None else duration(3600.0 * value) if name == "hours" else f"{value:.4f}"


def _seeds(row: Mapping[str, Any]) -> str:
    """How many runs a verdict is of, of how many, and how many of them collapsed."""
    found = len(row["seeds"])
    short = f" of {row['wanted']}" if found < row["wanted"] else ""
    return f"{found}{short} ({row['collapsed']} collapsed)" if row["collapsed"] else f"{found}{short}"


def spread(values: Mapping[str, float] | None, form: str) -> str:
    """Median and quartiles."""
    if values is None:
        return NOTHING
    return f"{form.format(values['median'])} ({form.format(values['low'])} to {form.format(values['high'])})"


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['recipe']} ({row['profile']})" if row["profile"] else str(row["recipe"])


def _memory(memory: Mapping[str, Any] | None) -> str:
    return NOTHING if memory is None else decimal(memory["peak_bytes"], precision=2)


def _in_giga(values: Mapping[str, float] | None) -> dict[str, float] | None:
    return None if values is None else {name: value / 1e9 for name, value in values.items()}


def _as_spread(test: Mapping[str, float]) -> dict[str, float]:
    return {"median": test["accuracy"], "low": test["accuracy_low"], "high": test["accuracy_high"]}


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
