"""Lines of CoNLL files to sentences: a word a line, columns side by side, a blank line after each sentence.

In come lines; out come sentences, a list of words for each column, with the line where each begins. Columns stand
between tabs or, where a file has none, between white space. Left out: -DOCSTART- lines, and comments, which begin with
# and have another number of columns than the words; of CoNLL-U also words that are parts of others (1-2) or not there
(1.1). Refused: a line with more or fewer columns than the first one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

from zoo.errors import DataError

__all__ = ["CONLL_U", "column_of", "names_of", "sentences"]

CONLL_U = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""Columns of a conllu file, in order."""
WORD, TAG = "word", "tag"
"""What the first and the last column are called too; of a conllu file form and upos."""
SHOWN = 5


def names_of(path: Path, width: int) -> list[str]:
    """The names of so many columns, each once: of a conllu file its own, else word, numbers from 1, and tag."""
    if path.suffix.lower() == ".conllu":
        return list(CONLL_U[:width])
    return [WORD, *map(str, range(1, width - 1)), TAG] if width > 1 else [WORD]


def column_of(path: Path, name: str, width: int) -> int | None:
    """Where the column of a name stands among so many, by its name or its number from 0; None where there is none."""
    places = {str(number): number for number in range(width)}
    if path.suffix.lower() == ".conllu":
        places |= {known: number for number, known in enumerate(CONLL_U[:width])} | {WORD: 1, TAG: 3}
    else:
        places |= {TAG: width - 1, WORD: 0} if width > 1 else {WORD: 0}
    found = places.get(name)
    return found if found is None or found < width else None


def sentences(path: Path, lines: Iterable[str]) -> Generator[tuple[int, Sequence[list[str]]], None, None]:
    """The line where each sentence begins, from 1, and its columns, each a string a word.

    Raises:
        DataError: lines with another number of columns than the first one, all at once.
    """
    width, faults, odd = 0, list[str](), 0
    for block in _blocks(lines):
        first = next((row for _, row in block if not row[0].startswith("#")), None)
        width = width or len(first or ())
        if not width:  # nothing but comments so far
            continue
        kept: list[tuple[int, list[str]]] = []
        for number, row in block:
            if len(row) == width:
                if path.suffix.lower() != ".conllu" or row[0].isdecimal():
                    kept.append((number, row))
            elif not row[0].startswith("#") and row[0] != "-DOCSTART-":
                odd += 1
                if odd <= SHOWN:
                    faults.append(f"{path}:{number}: {len(row)} columns, the lines above have {width}")
        if kept and kept[0][1][0] != "-DOCSTART-":
            yield kept[0][0], [list(column) for column in zip(*(row for _, row in kept), strict=True)]
    if odd:
        more = f" ({odd - SHOWN} more such lines)" if odd > SHOWN else ""
        raise DataError([*faults[:-1], f"{faults[-1]}{more}: give each word all columns, a blank line ends a sentence"])


def _blocks(lines: Iterable[str]) -> Iterator[list[tuple[int, list[str]]]]:
    """The lines between blank ones, each with its number and its fields."""
    block: list[tuple[int, list[str]]] = []
    tabs = False
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r\n")
        if not line.strip():
            if block:
                yield block
            block = []
            continue
        # A file with tabs may have white space within its fields, and comments without a tab.
        tabs = tabs or ("\t" in line and not line.startswith("#"))
        block.append((number, line.split("\t") if tabs else line.split()))
    if block:
        yield block
