"""The rows of a recipe read whole: what `zoo.check --deep` says of them.

In comes a recipe; out come figures, and notes, of which `warning` is the topic of
what is to be looked at. Nothing is refused: what a run would refuse, `load_dataset` has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo.data.backbones import locate_vocabulary
from zoo.data.dataset import SPLITS, Dataset, load_dataset
from zoo.data.encodings import KINDS, damaged
from zoo.data.near import Alike, near_duplicates
from zoo.data.telltales import telltales
from zoo.data.together import Together
from zoo.data.tokens import Tokenizer, TokenTable, cut_told, doubts, load_tokenizer
from zoo.recipe import Recipe
from zoo.recipe.showing import listed
from zoo.recipe.types import Tokens

__all__ = ["Bars", "Noted", "look"]

Noted = tuple[str, str]
"""Topic and text of what there is to say."""
EXAMPLES = 3
"""Rows that are named."""
SHIFT = 0.1
"""By how much the share of a class may differ between train and another split."""
SMALLEST = 10
"""Rows of train that a class should have."""


class Bars(Protocol):
    """What shows how far a stage is, as `zoo.runs.screen.Screen` does."""

    def bar(self, title: str, total: int | None = None) -> AbstractContextManager[Callable[[int], None]]: ...


def look(recipe: Recipe, bars: Bars) -> tuple[dict[str, Any], list[Noted]]:
    """Figures of all that is looked at, of several tasks by their name; and notes.

    Args:
        recipe: whose rows and vocabulary are here, without stages.
        bars: told how far each part is.
    """
    tokenizer = load_tokenizer(locate_vocabulary(recipe.model.backbone))
    if not recipe.tasks:
        return _look(recipe, tokenizer, bars)
    figures, notes = dict[str, Any](), list[Noted]()
    for name, own in recipe.of_tasks().items():
        figures[name], told = _look(own, tokenizer, bars)
        notes += [(topic, f"{name}: {text}") for topic, text in told]
    return figures, notes


def _look(recipe: Recipe, tokenizer: Tokenizer, bars: Bars) -> tuple[dict[str, Any], list[Noted]]:
    looking = _Looking(load_dataset(recipe), bars)
    figures, notes = dict[str, Any](), list[Noted]()
    for name, (found, told) in looking.parts(tokenizer, recipe.tokens):
        figures[name] = found
        notes += told
    return figures, notes


Part = tuple[Any, list[Noted]]


class _Looking:
    """The rows of a recipe, and what is to be said of them."""

    def __init__(self, data: Dataset, bars: Bars) -> None:
        self._data, self._bars, self._all = data, bars, Together.of(data)
        self._of, self._splits = self._all.split_numbers, self._all.splits

    def parts(self, tokenizer: Tokenizer, tokens: Tokens) -> Iterator[tuple[str, Part]]:
        """Everything, by name."""
        with self._bars.bar("alike", len(self._all.texts)) as advance:
            groups = near_duplicates(self._all.texts, self._all.pairs, progress=advance)
        yield "overlap", self._overlap(groups)
        yield "near_duplicates", self._alike(groups)
        yield "tokens", self._tokens(tokenizer, tokens)
        if self._all.classes is not None:
            yield "classes", self._balance(self._all.classes)
            yield "telling", self._telling(self._all.classes)
        yield "encodings", self._encodings()

    def _overlap(self, groups: Sequence[Alike]) -> Part:
        """Rows of validation and test that stand, nearly the same, in what comes before them."""
        found, notes = dict[str, Any](), list[Noted]()
        for number, name in enumerate(SPLITS[1:], 1):
            rows, examples = 0, list[list[str]]()
            for group in groups:
                members = np.array(group.rows)
                own, before = members[self._of[members] == number], members[self._of[members] < number]
                if len(own) and len(before):
                    rows += len(own)
                    examples += [[self._all.id(int(own[0])), self._all.id(int(before[0]))]] * (len(examples) < EXAMPLES)
            found[name] = {"rows": rows, "examples": examples}
            if rows:
                pairs = "; ".join(" and ".join(pair) for pair in examples)
                where = " or ".join(SPLITS[:number])
                text = f"{name}: {rows:,} of {len(self._splits[name]):,} rows are nearly the same in {where} ({pairs})"
                notes.append(("warning", f"{text}; its figures are too good"))
        if not notes:
            notes.append(("overlap", "no row of validation or test is nearly the same as one before it"))
        return found, notes

    def _alike(self, groups: Sequence[Alike]) -> Part:
        within = [group for group in groups if (self._of[list(group.rows)] == 0).sum() > 1]
        differing = list(filter(self._all.contradicting, groups))
        rows = sum(int((self._of[list(group.rows)] == 0).sum()) for group in within)
        found = {"groups": len(groups), "train_rows": rows, "train_groups": len(within), "contradicting": {}}
        found["contradicting"] = {
            "groups": len(differing),
            "rows": sum(len(group.rows) for group in differing),
            "examples": [[self._all.id(row) for row in group.rows[:EXAMPLES]] for group in differing[:EXAMPLES]],
        }
        notes = [("alike", f"train: {rows:,} rows are near duplicates of each other, in {len(within):,} groups")]
        if differing:
            first = ", ".join(map(self._all.id, differing[0].rows[:EXAMPLES]))
            text = f"near duplicates with different labels: {len(differing):,} groups, the first {first}"
            notes.append(("warning", f"{text}; one label is wrong, or the text does not say enough"))
        return found, notes

    def _tokens(self, tokenizer: Tokenizer, tokens: Tokens) -> Part:
        tables: dict[str, TokenTable] = {}
        with self._bars.bar("tokenize", len(self._all.texts)) as advance:
            for name, split in self._splits.items():
                tables[name] = tokenizer.encode(split.texts, split.pairs, tokens, progress=advance, place=split.place)
        framing = 2 if self._all.pairs is None else 2 + len(tokenizer.specials.between)
        found = {name: _lengths(table, tokenizer.unknown, framing) for name, table in tables.items()}
        notes = [cut_told(tables, tokens)]
        # The check itself tells the tokenizer's note.
        notes += [("warning", text) for text in doubts(tokenizer, tables) if text != tokenizer.note]
        told = (f"{name} {each['median']:,} and {each['longest']:,}" for name, each in found.items())
        notes.insert(0, ("tokens", f"a text's median and longest: {', '.join(told)}"))
        for name, each in found.items():
            if each["unknown_texts"]:
                notes.append(("warning", f"{name}: {each['unknown_texts']:,} texts have no token that is known"))
        return found, notes

    def _balance(self, classes: NDArray[np.bool_]) -> Part:
        names = self._data.task.names
        counts = {name: classes[self._of == number].sum(axis=0) for number, name in enumerate(SPLITS)}
        found = {name: dict(zip(names, map(int, row), strict=True)) for name, row in counts.items()}
        notes = [("classes", f"train, {self._data.task.listed_shares(self._data.train.labels)}")]
        few = [f"{names[i]} ({count})" for i, count in enumerate(counts["train"]) if count < SMALLEST]
        if few:
            notes.append(("warning", f"train has fewer than {SMALLEST} rows of {listed(few)}"))
        shares = {name: row / max(1, len(self._splits[name])) for name, row in counts.items()}
        for name in SPLITS[1:]:
            absent = [names[i] for i in np.flatnonzero((counts[name] == 0) & (counts["train"] > 0))]
            if absent:
                notes.append(("warning", f"{name} has no row of {listed(absent)}"))
            apart = np.abs(shares[name] - shares["train"])
            if apart.max() > SHIFT:
                i = int(apart.argmax())
                text = f"{names[i]} is {shares['train'][i]:.1%} of train and {shares[name][i]:.1%} of {name}"
                notes.append(("warning", f"{text}: the splits were drawn in different ways"))
        return found, notes

    def _telling(self, classes: NDArray[np.bool_]) -> Part:
        whole = self._all.whole
        names = self._data.task.names
        with self._bars.bar("words", len(whole)) as advance:
            found = telltales(whole, classes, names, progress=advance)
        figures = [
            {
                "kind": each.kind,
                "word": each.word,
                "label": names[each.name],
                "count": len(each.rows),
                "agreeing": each.agreeing,
            }
            for each in found
        ]
        if not found:
            return figures, [("words", "none tells the label nearly alone")]
        told = [f"{each.told} ({each.agreeing:,} of {len(each.rows):,} are {names[each.name]})" for each in found]
        return figures, [("warning", f"words that tell the label nearly alone: {listed(told, EXAMPLES)}")]

    def _encodings(self) -> Part:
        columns = [self._all.texts] if self._all.pairs is None else [self._all.texts, self._all.pairs]
        rows: dict[str, set[int]] = {kind: set() for kind in KINDS}
        for texts in columns:
            for kind, numbers in damaged(texts).items():
                rows[kind].update(numbers)
        found, notes = dict[str, Any](), list[Noted]()
        for kind, having in rows.items():
            places = [self._all.place(row) for row in sorted(having)[:EXAMPLES]]
            found[kind] = {"rows": len(having), "examples": places}
            if having:
                notes.append(("warning", f"{len(having):,} texts have {kind} ({'; '.join(places)}): {KINDS[kind]}"))
        return found, notes or [("encoding", "no text shows damage")]


def _lengths(table: TokenTable, unknown: int | None, framing: int) -> Mapping[str, Any]:
    """Of a split's texts: lengths in tokens before they are cut, how many are, and what the vocabulary lacks; `framing`
    tokens of a row are no part of its texts."""
    missing: NDArray[np.bool_] = table.ids == unknown if unknown is not None else np.zeros(len(table.ids), bool)
    lacked = np.bincount(np.repeat(table.owners, table.lengths), weights=missing, minlength=len(table.full))
    inside = np.bincount(table.owners, weights=table.lengths - framing, minlength=len(table.full))
    return {
        "texts": len(table.full),
        "cut": table.truncated,
        "median": int(np.median(table.full)),
        "longest": int(table.full.max()),
        "unknown_share": float(missing.mean()),
        "unknown_texts": int((lacked >= inside).sum()),
    }
