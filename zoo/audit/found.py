"""What an audit found, in plain values: for audit.json, audit.csv, the report and the screen."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from zoo.recipe.showing import as_cell

__all__ = ["Audit", "Doubt", "Group", "LabelError", "Label", "Telling", "as_csv", "told_label"]

Label = str | list[str] | dict[str, float]
"""As predictions.jsonl has labels."""
LONGEST = 300
"""Characters of a text in audit.json."""
EXAMPLES = 20
"""Rows of a group, or with a word, that audit.json has."""
COLUMNS = ("doubt", "id", "place", "split", "label", "suggested", "probability", "group", "why", "text")


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A row: its id, where it stands, its split, its label (None where it has none to be told) and its text."""

    id: str
    place: str
    split: str
    label: Label | None
    text: str


@dataclass(frozen=True, kw_only=True)
class LabelError(Doubt):
    """A row whose label is likely wrong.

    probability: of its own label, by who has not seen it; of several classes, the least of one that it has, or of one
    that it has not the rest. suggested: what is likelier.
    """

    suggested: Label
    probability: float


@dataclass(frozen=True, kw_only=True)
class Group:
    """Near duplicates.

    similarity: the least by which one of them was joined. across: whether they are of several splits. contradicting:
    whether they have different classes.
    """

    rows: tuple[Doubt, ...]
    similarity: float
    across: bool
    contradicting: bool

    def unlike(self, most: int) -> list[Doubt]:
        """So many of the rows, those of other labels and of other splits than the first before the rest."""
        first = self.rows[0]

        def same(row: Doubt) -> tuple[bool, bool]:
            return row.label == first.label, row.split == first.split

        return [first, *sorted(self.rows[1:], key=same)][:most]


@dataclass(frozen=True, kw_only=True)
class Telling:
    """A word, a rating or a class's name that tells a class nearly alone: in so many rows, of which so many have it."""

    kind: str
    word: str
    label: str
    count: int
    agreeing: int
    rows: tuple[Doubt, ...]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All of it.

    rows: of each split. task: of a run of several tasks the one they are of, else None. source: where the probabilities
    come from; None where labels were not judged. judged: rows that they were for. left_out: what was not looked for,
    and why. seconds: that each part took.
    """

    rows: dict[str, int]
    task: str | None
    source: str | None
    judged: int
    label_errors: tuple[LabelError, ...]
    groups: tuple[Group, ...]
    telling: tuple[Telling, ...]
    left_out: dict[str, str]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How much there is of each kind of doubt."""
        return {
            "label_errors": len(self.label_errors),
            "near_duplicate_groups": len(self.groups),
            "near_duplicate_rows": sum(len(group.rows) for group in self.groups),
            "groups_across_splits": sum(group.across for group in self.groups),
            "contradicting_groups": sum(group.contradicting for group in self.groups),
            "telling_words": len(self.telling),
            "telling_rows": len({row.id for each in self.telling for row in each.rows}),
        }

    def as_json(self) -> dict[str, Any]:
        """For audit.json: texts are cut, and of a group or a word the first rows are told."""
        found = asdict(self)
        found["groups"] = [each | {"count": len(each["rows"])} for each in found["groups"]]
        for each in (*found["groups"], *found["telling"]):
            each["rows"] = each["rows"][:EXAMPLES]
        rows = [*found["label_errors"]]
        rows += [row for of in (*found["groups"], *found["telling"]) for row in of["rows"]]
        for row in rows:
            if len(row["text"]) > LONGEST:
                row["text"] = row["text"][:LONGEST] + " [...]"
        return {"counts": self.counts, **found}


def told_label(label: Label | None) -> str:
    """A label in a cell."""
    if isinstance(label, dict):
        return ", ".join(f"{name} {value:g}" for name, value in label.items())
    return "; ".join(label) or "none" if isinstance(label, list) else label or ""


def as_csv(audit: Audit) -> str:
    """A line for each row and doubt, with its whole text; nothing in it is a formula for a spreadsheet."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in _lines(audit):
        writer.writerow([as_cell(str(row.get(column, ""))) for column in COLUMNS])
    return lines.getvalue()


def _lines(audit: Audit) -> Iterator[Mapping[str, Any]]:
    def plain(row: Doubt) -> dict[str, Any]:
        return {**asdict(row), "label": told_label(row.label)}

    for error in audit.label_errors:
        suggested, share = told_label(error.suggested), f"{error.probability:.4f}"
        yield {**plain(error), "doubt": "label error", "suggested": suggested, "probability": share}
    for number, group in enumerate(audit.groups, 1):
        parts = ["near duplicates", *["across splits"] * group.across, *["contradicting"] * group.contradicting]
        for row in group.rows:
            yield {**plain(row), "doubt": "near duplicate", "group": number, "why": ", ".join(parts)}
    for each in audit.telling:
        why = f"{each.kind} {each.word!r}: {each.agreeing} of {each.count} rows with it are {each.label}"
        for row in each.rows:
            yield {**plain(row), "doubt": "label in the text", "suggested": each.label, "why": why}
