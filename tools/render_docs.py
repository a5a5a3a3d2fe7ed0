"""Write what is generated: zoo/recipe/schema.json, docs/recipe.md, and the tables of README.md and docs/.

    python tools/render_docs.py            # write them
    python tools/render_docs.py --check    # write nothing; exit 1 and name the files that are stale

In come the recipe types, the shipped recipes, the catalog's cards, the measurements in benchmarks/results and the list
of benchmarks/unseen.py; what comes out is to be changed there. A table stands in its page between two markers,
`<!-- NAME: begin -->` and `<!-- NAME: end -->`; the text around it is written by hand. Refused: a page without the
markers of its table.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import recipes  # noqa: E402
from benchmarks import effect, protocol, unseen  # noqa: E402
from zoo.data.catalog import backbone_card, backbone_names, dataset_card, dataset_names  # noqa: E402
from zoo.recipe.schema import Node, Row, expectation, recipe_schema, rows  # noqa: E402

MEASURED = "benchmarks/results/2026-11-22-cpu-3.json"
"""The measurements that the README shows; benchmarks/results/README.md says what the file holds."""

_INTRODUCTION = """\
# Every key of a recipe

Generated from the types of `zoo/recipe/` by `python tools/render_docs.py`: change it there.

A recipe is one YAML 1.2 file of at most 256 KB, without anchors, aliases, tags and duplicate keys. Keys
are written here with dots, as `--set` and profiles write them; `model.head(binary).threshold` is a key that
`model.head` has only with `type: binary`. Paths start at the recipe's own folder. A bold key must be given.

"""


def schema_text() -> str:
    """schema.json, for editors: `# yaml-language-server: $schema=...`."""
    return json.dumps(recipe_schema(), indent=2, ensure_ascii=False) + "\n"


def recipe_page() -> str:
    """docs/recipe.md: a table of all keys."""
    return _INTRODUCTION + table(("key", "what it takes", "default", "what it means"), map(_recipe_key, rows()))


def expected_table() -> str:
    """What the shipped recipes expect, from their `expected:`."""
    lines, without = [], []
    for name in recipes.names():
        recipe = recipes.load(name)
        expected = recipe.expected
        if expected is None or (expected.accuracy, expected.f1) == (None, None):
            without.append(f"`{name}`")
            continue
        # What is required is a bound; what somebody published is a figure.
        bound = ">" if expected.source.startswith("required") else ""
        lines.append(
            (
                f"`{name}`",
                recipe.model.backbone.preset or "",
                recipe.told_data,
                _share(expected.accuracy, bound),
                _share(expected.f1, bound),
                "" if expected.hours is None else f"{expected.hours:g} h",
                str(expected.seeds),
                expected.source,
            )
        )
    columns = ("recipe", "backbone", "data", "accuracy", "F1", "training time", "seeds", "source")
    return table(columns, lines) + f"\nNo figure is published for the settings of {', '.join(without)}.\n"


def measured_table() -> str:
    """The runs of MEASURED, or a sentence where that file is not there."""
    path = ROOT / MEASURED
    if not path.is_file():
        return "No measurements recorded.\n"
    return measured(json.loads(path.read_text(encoding="utf-8")))


def measured(report: Mapping[str, Any]) -> str:
    """A report in the form of benchmarks/results/README.md, as a sentence and a table."""
    versions = report["versions"]
    others = ", ".join(f"{name} {versions[name]}" for name in versions)
    lines = [
        (
            f"`{run['recipe']}`",
            run["profile"] or "none",
            run["backend"],
            f"{run['test']['accuracy']:.4f} ({run['test']['accuracy_low']:.4f} to {run['test']['accuracy_high']:.4f})",
            f"{run['test']['f1']:.4f}",
            f"{run['test']['rows']:,}",
            f"{protocol.training_seconds(run) or 0.0:,.0f} s",
            f"{run['timing']['total_seconds']:,.0f} s",
        )
        for run in report["runs"]
    ]
    columns = ("recipe", "profile", "backend", "test accuracy (95% interval)", "F1", "test rows", "training", "total")
    return f"{report['date']}, on {report['machine']}; {others}.\n\n{table(columns, lines)}"


def dataset_table() -> str:
    """The data sets of the catalog."""
    lines = []
    for card in map(dataset_card, dataset_names()):
        counts = ", ".join(f"{count:,} {split}" for split, count in card.rows.items())
        lines.append(
            (
                f"`{card.name}`",
                counts,
                ", ".join(card.label_names or ("none",)),
                f"`{card.origins[0].uri}`",
                card.license,
            )
        )
    return table(("name", "rows", "classes", "source", "licence"), lines)


def backbone_table() -> str:
    """The backbones of the catalog."""
    lines = [
        (
            f"`{card.name}`",
            card.family,
            f"{card.parameters / 1e6:,.1f} M",
            str(card.num_layers),
            str(card.hidden_dim),
            card.tokenizer,
            f"`{card.origins[0].uri}`",
        )
        for card in map(backbone_card, backbone_names())
    ]
    return table(("name", "family", "parameters", "layers", "width", "vocabulary", "source"), lines)


def unseen_table() -> str:
    """What no device was seen to do, and which check of `make gpu-bench` shows it."""
    return table(unseen.COLUMNS, unseen.lines())


def table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    texts = [columns, ["---"] * len(columns), *lines]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in texts)


def filled(page: str, **tables: Callable[[], str]) -> str:
    """The page (a path in the repository) with its tables put between their markers."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, render in tables.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise SystemExit(f"{page} lacks {begin.strip()} and {end.strip()}, each on a line of its own: add them")
        text = re.sub(f"(?s){re.escape(begin)}.*{re.escape(end)}", lambda _: f"{begin}\n{render()}\n{end}", text)  # noqa: B023
    return text


def _recipe_key(row: Row) -> Sequence[str]:
    key = f"**`{row.key}`**" if row.required else f"`{row.key}`"
    default = _default(row.node) if "default" in row.node else ""
    return key, expectation(row.node), default, " ".join(row.node["description"].split())


def _default(node: Node) -> str:
    """A default as YAML; of a group its `type` alone, the rest stands with the keys of the group."""
    value = node["default"]
    if isinstance(value, dict):
        return f"`{{type: {value['type']}}}`" if "type" in value else ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _share(value: float | None, bound: str) -> str:
    return "" if value is None else f"{bound}{100 * value:g}%"


FILES: dict[str, Callable[[], str]] = {
    "zoo/recipe/schema.json": schema_text,
    "docs/recipe.md": recipe_page,
    "docs/data.md": partial(filled, "docs/data.md", datasets=dataset_table),
    "docs/accelerators.md": partial(filled, "docs/accelerators.md", unseen=unseen_table),
    "docs/tasks.md": partial(filled, "docs/tasks.md", effects=partial(effect.table, "tasks")),
    "docs/strategies.md": partial(filled, "docs/strategies.md", effects=partial(effect.table, "strategies")),
    "docs/backbones.md": partial(filled, "docs/backbones.md", backbones=backbone_table),
    "README.md": partial(filled, "README.md", expected=expected_table, measured=measured_table),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the schema, docs/recipe.md and the tables of the pages.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a file is stale")
    check = parser.parse_args().check
    stale = []
    for name, render in FILES.items():
        path = ROOT / name
        fresh = render()
        if path.is_file() and path.read_text(encoding="utf-8") == fresh:
            continue
        stale.append(name)
        if not check:
            path.write_text(fresh, encoding="utf-8")
    for name in stale:
        print(f"{name} is stale: run python tools/render_docs.py" if check else f"{name} written")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
