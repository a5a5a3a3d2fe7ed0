"""Texts as words, and a tag for each of them.

In come texts, or lists of their words; out come texts and where each word stands in them. In come labels, which are
lists of tags, tags with white space between them, or lists of spans ({start, end, label}, characters of the text); out
come a tag a word, in the scheme that a model learns. Words that a list gives are joined by one space. A text has the
words that stand between white space where it has a tag for each of these, else those of words.py, where apostrophes and
hyphens are words of their own, so that a span may end at them.

Refused, with the rows: words that are no strings or empty, more or fewer tags than words, class numbers without a name,
spans outside the text or over one another. Tags without a place in their scheme, and spans that end within a word, are
mended and counted, or refused where asked.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.data.tables import places
from zoo.data.words import words
from zoo.errors import DataError
from zoo.score.tagging import Scheme, Span, broken, parts, retagged, scheme_of, tags_of
from zoo.tasks import Stated

__all__ = ["Places", "Worded", "joined", "odd_word", "places_of", "read_tags", "read_texts"]

Places = list[tuple[int, int]]
"""First and one past the last character of each word of a text."""


def read_texts(split: str, path: Path, columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns with strings as texts, and with `words`: the places of those that a list gave, None of other texts.

    Raises:
        DataError: words that are no strings, or empty.
    """
    texts, found, faults = list[Any](), list[Places | None](), _Faults(split, path)
    for text, line in zip(columns["text"], columns["line"], strict=True):
        if not isinstance(text, list):
            texts.append(text)
            found.append(None)
            continue
        if told := odd_word(text):
            faults.add("has a word that is none", line, told)
            continue
        whole, own = joined(text)
        texts.append(whole)
        found.append(own)
    faults.refuse()
    return {**columns, "text": texts, "words": found}


def odd_word(given: Sequence[Any]) -> str | None:
    """What is told of the first of these words that is none; None where all are words."""
    odd = [word for word in given if not isinstance(word, str) or not word.strip()]
    return f"{odd[0]!r:.40}, expected a string with characters" if odd else None


def joined(given: Sequence[str]) -> tuple[str, Places]:
    """The text of a list of words, and where they stand in it."""
    ends = list(itertools.accumulate(len(word) + 1 for word in given))
    return " ".join(given), [(end - 1 - len(word), end - 1) for word, end in zip(given, ends, strict=True)]


def places_of(text: str) -> Places:
    """The words of a text of which nothing else is known."""
    return words(text, joined=False)


@dataclass(frozen=True, kw_only=True)
class Worded:
    """Columns of each split with `words`, the places of each text's words, and `label`, a tag a word; what was mended,
    in sentences; and the scheme of the tags."""

    columns: dict[str, dict[str, Any]]
    notes: tuple[str, ...]
    scheme: Scheme


def read_tags(
    columns: Mapping[str, Mapping[str, Any]],
    paths: Mapping[str, Path],
    stated: Stated,
    *,
    scheme: Scheme | None,
    learned: Scheme | None = None,
    repair: bool,
) -> Worded:
    """The tags of all splits.

    Args:
        columns: split -> columns, as `read_texts` gives them, none missing.
        paths: split -> the file, for what is said of it.
        stated: what is known of the labels.
        scheme: of the tags in the files; None tells it by the tags.
        learned: of the tags that a model knows already; None takes what the files have, IOB1 as IOB2.
        repair: whether what has no place is mended, or refused.

    Raises:
        DataError: see the module; all faults at once.
    """
    found: dict[str, dict[str, Any]] = {}
    notes, faults = list[str](), list[str]()
    for split, table in columns.items():
        reader = _Rows(split, paths[split], stated, repair)
        try:
            found[split] = {**table, **reader.read(table)}
        except DataError as error:
            faults += error.faults
        if reader.widened:
            notes.append(f"{split}: {reader.widened:,} spans that end within a word were widened to whole words")
    if faults:
        raise DataError(faults)
    every = [tags for table in found.values() for tags in table["label"]]
    scheme = scheme or scheme_of(every)
    for split, table in found.items():
        mended, wrong = 0, _Faults(split, paths[split])
        for tags, line in zip(table["label"], table["line"], strict=True):
            odd = broken(tags, scheme)
            mended += len(odd)
            if odd and not repair:
                why = f"{tags[odd[0]]} of word {odd[0] + 1}, which has no place there under {scheme}"
                wrong.add("has a tag out of place", line, f"{why}: correct it, or set model.head.on_broken=repair")
        try:
            wrong.refuse()
        except DataError as error:
            faults += error.faults
        if mended:
            notes.append(f"{split}: {mended:,} tags have no place under {scheme} and were read as conlleval reads them")
        target = learned or scheme
        found[split] = {**table, "label": [retagged(tags, target) for tags in table["label"]]}
    if faults:
        raise DataError(faults)
    return Worded(columns=found, notes=tuple(notes), scheme=scheme)


@dataclass
class _Faults:
    """Faults of a split's rows: of each kind the first rows, and how many there are."""

    split: str
    path: Path
    lines: dict[str, list[int]] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, line: int, told: str) -> None:
        self.lines.setdefault(kind, []).append(line)
        self.first.setdefault(kind, told)

    def refuse(self) -> None:
        """DataError where there are any."""
        found = []
        for kind, lines in self.lines.items():
            found.append(f"{self.path}: {self.split}: {places(self.path, lines)} {kind}: {self.first[kind]}")
        if found:
            raise DataError(found)


@dataclass
class _Rows:
    """Labels of a split's rows to a tag a word."""

    split: str
    path: Path
    stated: Stated
    repair: bool
    widened: int = 0

    def read(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """The columns words and label."""
        labels = [_parsed(label) for label in table["label"]]
        every = [each for label in labels for each in label]
        spanned = not every or any(isinstance(each, Mapping) for each in every)
        faults, found, tagged = _Faults(self.split, self.path), list[Places](), list[list[str]]()
        rows = zip(table["text"], table["words"], labels, table["line"], strict=True)
        for text, given, label, line in rows:
            try:
                own, tags = self._spans(text, given, label) if spanned else self._tags(text, given, label)
            except _Odd as odd:
                faults.add(odd.kind, line, odd.told)
            else:
                found.append(own)
                tagged.append(tags)
        faults.refuse()
        return {"words": found, "label": tagged}

    def _tags(self, text: str, given: Places | None, label: Sequence[Any]) -> tuple[Places, list[str]]:
        own = given if given is not None else _between_space(text)
        if given is None and len(own) != len(label):
            own = places_of(text)
        if len(own) != len(label):
            raise _Odd("has another number of tags than words", f"{len(label)} of {len(own)}, expected one a word")
        return own, [self._named(tag) for tag in label]

    def _named(self, tag: Any) -> str:
        """A tag by its name, where the file has class numbers."""
        names, key = self.stated.names, str(tag).strip()
        if self.stated.numbers is not None and names is not None and key in self.stated.numbers:
            return names[self.stated.numbers[key]]
        if names is not None and key not in names and key.isdecimal() and int(key) < len(names):
            return names[int(key)]
        if isinstance(tag, bool) or not isinstance(tag, str | int) or not key:
            raise _Odd("has a tag that is none", f"{tag!r:.40}, expected a name or a class number")
        if names is not None and key not in names and parts(key) is None:
            raise _Odd("has a tag that is not among label_names", f"{key:.40}, expected one of {', '.join(names)}")
        if names is None and not isinstance(tag, str):
            raise _Odd("has class numbers", f"{tag}, expected names: give them in data.files.label_names")
        return key

    def _spans(self, text: str, given: Places | None, label: Sequence[Any]) -> tuple[Places, list[str]]:
        own, kinds = given if given is not None else places_of(text), list[Span]()
        for span in sorted(map(_span, label)):
            if not 0 <= span.start < span.end <= len(text):
                raise _Odd("has a span outside its text", f"{span.start} to {span.end} of {len(text)} characters")
            inside = [number for number, (start, end) in enumerate(own) if start < span.end and end > span.start]
            if not inside:
                raise _Odd("has a span without a word", f"{span.start} to {span.end}, which is white space")
            first, last = inside[0], inside[-1]
            # White space at its ends is no part of a word that it would cut.
            if own[first][0] < span.start or own[last][1] > span.end:
                if not self.repair:
                    told = f"{text[span.start : span.end]!r:.40} of {text[own[first][0] : own[last][1]]!r:.40}"
                    repair = "move it, or set model.head.on_broken=repair, which takes the whole words"
                    raise _Odd("has a span that ends within a word", f"{told}: {repair}")
                self.widened += 1
            if kinds and kinds[-1].end > first:
                raise _Odd("has spans that share a word", f"{kinds[-1].type} and {span.type}, expected one a word")
            kinds.append(Span(first, last + 1, span.type))
        return own, tags_of(kinds, len(own), "iob2")


class _Odd(Exception):
    """A row that cannot be read: the kind of fault, and what is told of the first row that has it."""

    def __init__(self, kind: str, told: str) -> None:
        super().__init__(kind)
        self.kind, self.told = kind, told


def _parsed(label: Any) -> Sequence[Any]:
    """The label of a row as a list: of text, tags between white space, or what it holds as JSON."""
    if not isinstance(label, str):
        return label if isinstance(label, list) else [label]
    if label.lstrip().startswith("["):
        try:
            found = json.loads(label)
        except ValueError:
            found = None
        if isinstance(found, list):
            return found
    return label.split()


def _span(value: Any) -> Span:
    """Characters and label of a span; _Odd where it has not all three."""
    known = value if isinstance(value, Mapping) else {}
    start, end, label = (known.get(name) for name in ("start", "end", "label"))
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (start, end))
    if not whole or not isinstance(label, str) or not label.strip() or any(map(str.isspace, label.strip())):
        raise _Odd("has a span that is none", f"{value!r:.60}, expected start, end and label, a word")
    assert isinstance(start, int)
    assert isinstance(end, int)
    return Span(start, end, label.strip())


def _between_space(text: str) -> Places:
    found, start = Places(), 0
    for word in text.split():
        start = text.index(word, start)
        found.append((start, start + len(word)))
        start += len(word)
    return found
