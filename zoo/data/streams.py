"""Rows that come one after the other, some thousands at a time, so that any number of them fits in memory.

In comes a file, stdin, or a few texts; out come `Part`s: texts and what is carried along with them, in order. A file is
read twice: first all of it is looked through, so that what is wrong with its last row is told before the first one is
predicted, and it is known how many there are. Refused: what tables.py refuses, texts that are not strings, and unless
`on_missing` says otherwise rows without one.
"""

from __future__ import annotations

import codecs
import io
import select
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from zoo.data.columns import as_tuple, unfit, without
from zoo.data.tables import SHOWN, column_names, place, read_pieces, read_rows
from zoo.data.worded import odd_word
from zoo.errors import DataError
from zoo.tasks.material import no_label

__all__ = [
    "OnMissing",
    "Part",
    "Source",
    "carried",
    "look_through",
    "of_file",
    "of_pieces",
    "of_stdin",
    "of_texts",
]

OnMissing = Literal["error", "keep", "drop"]
"""What a row without a text gets: an error, an empty prediction, or no row of the output."""

ROWS = 4096
"""Rows of a part, at most: enough to go into batches by length."""
CHARACTERS = 1 << 22
"""After so many a part ends with fewer rows."""
READ = 1 << 16
"""Bytes that are taken from stdin at once."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows that came one after the other.

    texts: [rows], the first text of each row, "" where it is missing.
    pairs: [rows], the second one likewise, or None where rows have one.
    given: [rows], the first text of each row as it came: where a task is about words, it may be a list of these.
    kept: column -> [rows], what is carried along.
    places: [rows], where people find each of them.
    """

    texts: list[str]
    pairs: list[str] | None
    given: list[str | list[str]]
    kept: Mapping[str, list[Any]]
    places: list[str]

    @property
    def present(self) -> list[int]:
        """The rows that lack no text."""
        return [i for i, row in enumerate(zip(self.texts, self.pairs or self.texts, strict=True)) if all(row)]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where texts come from.

    name: what people call it. columns: those that are carried along, in order. rows: how many there are, None where
    only its end tells. parts: the rows, to be gone through once.
    """

    name: str
    columns: tuple[str, ...]
    rows: int | None
    parts: Iterator[Part]


def of_texts(
    texts: Sequence[str], pairs: Sequence[str] | None = None, names: tuple[str, str] = ("text", "pair")
) -> Source:
    """Texts that are at hand, or pairs; each is carried along, under its name."""
    columns = names[:1] if pairs is None else names
    rows = enumerate(zip(texts, *([] if pairs is None else [pairs]), strict=True), 1)
    places = ((f"text {number}", row) for number, row in rows)
    return Source(name="the texts", columns=columns, rows=len(texts), parts=_parts(places, columns, columns))


def of_file(
    path: Path,
    text: str | tuple[str, str],
    *,
    keep: Sequence[str] | None = None,
    on_missing: OnMissing = "error",
    encoding: str = "utf-8",
    worded: bool = False,
) -> Source:
    """The rows of a file, looked through to its end.

    Args:
        path: the file.
        text: column of the text, or the two of pairs.
        keep: columns to carry along; None takes all.
        on_missing: what rows without a text get; here it is only whether they are an error.
        encoding: of csv, tsv, jsonl and txt files.
        worded: whether a text may be a list of its words.

    Raises:
        DataError: a row cannot be read or has no text, or no row has one.
    """
    texts = as_tuple(text)
    columns = carried(path, texts, keep, encoding)
    rows = look_through(path, texts, columns, on_missing=on_missing, encoding=encoding, worded=worded)
    wanted = _wanted(texts, columns)
    found = ((place(path, number), row) for number, row in read_rows(path, wanted, encoding))
    return Source(name=str(path), columns=columns, rows=rows, parts=_parts(found, wanted, columns, texts))


def carried(
    path: Path, texts: Sequence[str], keep: Sequence[str] | None = None, encoding: str = "utf-8"
) -> tuple[str, ...]:
    """The columns of a file that are carried along; see `of_file`. DataError where one of all stands twice."""
    names = list(keep) if keep is not None else column_names(path, encoding) or [*texts]  # a txt file's has no name
    columns = tuple(dict.fromkeys(names))
    twice = [name for name in columns if names.count(name) > 1]
    if keep is None and twice:
        raise DataError(
            f"{path}: column {twice[0]!r} stands {names.count(twice[0])} times, expected once: rename the others, or "
            "say with --keep which columns to carry along"
        )
    return columns


def look_through(
    path: Path,
    texts: Sequence[str],
    columns: Sequence[str],
    *,
    on_missing: OnMissing,
    encoding: str = "utf-8",
    worded: bool = False,
) -> int:
    """How many rows a file has, once it is read to its end; DataError for what is wrong with them, see `of_file`."""
    count, strange = 0, list[str]()
    missing, lines = dict.fromkeys(texts, 0), {name: list[int]() for name in texts}
    for number, row in read_rows(path, _wanted(texts, columns), encoding):
        count += 1
        for name, value in zip(texts, row, strict=False):
            if no_label(value) or value == []:
                missing[name] += 1
                if len(lines[name]) < SHOWN:
                    lines[name].append(number)
            elif worded and isinstance(value, list):
                if (told := odd_word(value)) and len(strange) < SHOWN:
                    strange.append(f"{path}: {place(path, number)} has a word that is none: {told}")
            elif len(strange) < SHOWN and (fault := unfit(value)):
                strange.append(f"{path}: {place(path, number)} {fault}")
    if on_missing == "error":
        repair = "take --on-missing keep (an empty prediction) or --on-missing drop (no row)"
        strange += [
            without(str(path), path, f"text in {name!r}", found, lines[name], repair)
            for name, found in missing.items()
            if found
        ]
    if strange:
        raise DataError(strange)
    return count


def of_pieces(
    path: Path,
    texts: Sequence[str],
    columns: Sequence[str],
    *,
    size: int,
    wanted: Callable[[int], bool],
) -> Iterator[tuple[int, Iterator[Part]]]:
    """Those pieces of a file that are wanted, of `size` rows each and counted from 0, in order: each with its rows, to
    be gone through before the next one is asked for. Nothing is looked through first.

    Raises DataError as `read_rows`.
    """
    names = _wanted(texts, columns)
    for piece, rows in groupby(read_pieces(path, names, size, wanted), itemgetter(0)):
        yield piece, _parts(((place(path, number), row) for _, (number, row) in rows), names, columns, texts)


def _wanted(texts: Sequence[str], columns: Sequence[str]) -> list[str]:
    """What is read of a row, its texts first."""
    return list(dict.fromkeys((*texts, *columns)))


def of_stdin() -> Source:
    """The lines of stdin, each a text, in parts as they come: what waits is taken, and no more is waited for.

    Raises, as its parts are gone through, DataError where stdin is not text in its encoding.
    """
    lines = ([(f"line {number}", [line]) for number, line in numbered] for numbered in _numbered(_stdin_lines()))
    return Source(
        name="stdin",
        columns=("text",),
        rows=None,
        parts=(part for each in lines for part in _parts(each, ("text",), ("text",))),
    )


def _parts(
    rows: Iterable[tuple[str, Sequence[Any]]],
    wanted: Sequence[str],
    columns: Sequence[str],
    texts: Sequence[str] | None = None,
) -> Iterator[Part]:
    """Parts of rows; each has its place and the columns wanted, among them the texts, which by default are all."""
    texts = texts or wanted
    places, table, size = list[str](), {name: list[Any]() for name in wanted}, 0

    def part() -> Part:
        first, *second = (["" if no_label(value) else value for value in table[name]] for name in texts or ())
        return Part(
            texts=[" ".join(value) if isinstance(value, list) else value for value in first],
            given=first,
            pairs=second[0] if second else None,
            kept={name: table[name] for name in columns},
            places=places,
        )

    for where, row in rows:
        places.append(where)
        for values, value in zip(table.values(), row, strict=True):
            values.append(value)
            size += len(value) if isinstance(value, str) else 1
        if len(places) >= ROWS or size >= CHARACTERS:
            yield part()
            places, table, size = [], {name: [] for name in wanted}, 0
    if places:
        yield part()


def _numbered(groups: Iterable[list[str]]) -> Iterator[list[tuple[int, str]]]:
    """Lines with their numbers, from 1."""
    count = 0
    for lines in groups:
        yield list(enumerate(lines, count + 1))
        count += len(lines)


def _stdin_lines() -> Iterator[list[str]]:
    """Lines of stdin without their ends, as many at once as have come, or are needed for a part."""
    if sys.stdin is None:
        return
    raw: Any = sys.stdin.buffer
    name = codecs.lookup(sys.stdin.encoding).name
    strict = codecs.getincrementaldecoder("utf-8-sig" if name == "utf-8" else name)("strict")
    decoder = io.IncrementalNewlineDecoder(strict, translate=True)
    lines, rest, taken, size = list[str](), "", 0, 0
    while True:
        data = raw.read1(READ)
        held = len(strict.getstate()[0])
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise DataError(
                f"stdin is not {name} (byte {taken - held + error.start}), expected text in it: convert it first, or "
                "name its encoding by PYTHONIOENCODING"
            ) from error
        taken += len(data)
        *whole, rest = (rest + text).split("\n")
        if not data and rest:
            whole.append(rest)
        lines += whole
        size += len(text)
        if lines and (not data or len(lines) >= ROWS or size >= CHARACTERS or not _more_waits(raw)):
            yield lines
            lines, size = [], 0
        if not data:
            return


def _more_waits(stream: Any) -> bool:
    """Whether stdin has something, or its end, without being waited for."""
    try:
        return bool(select.select([stream], [], [], 0)[0])
    except (OSError, ValueError):  # no real file, as under a test
        return True
