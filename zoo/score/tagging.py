"""Tags of words, as B-PER, to spans of words, and back.

In come the tags of a text's words under one of several schemes; out come spans, and tags in the scheme that a model
learns. Every sequence of tags has spans: they are those of CoNLL's own script (conlleval) and of seqeval as it is by
default. What the scheme has no place for, as I-PER after O, is counted, so that the caller can say so or refuse it.

IOB1 (Ramshaw and Marcus 1995) writes B only where an entity follows another one of its type, IOB2 at the begin of each;
BIOES (also BILOU) also marks the last word, E or L, and an entity of a single word, S or U.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

__all__ = [
    *("OUTSIDE", "SCHEMES", "Scheme", "Span", "broken", "learned_scheme", "parts", "retagged", "scheme_of", "spans"),
    "tags_of",
]

Scheme = Literal["plain", "iob1", "iob2", "bioes"]
SCHEMES: tuple[Scheme, ...] = ("plain", "iob1", "iob2", "bioes")
"""`plain` has a class a word and no spans, as parts of speech have."""
OUTSIDE = "O"
_LAST = {"L": "E", "U": "S"}
"""BILOU's letters in those of BIOES."""
_LETTERS = "BIES"


class Span(NamedTuple):
    """Words [start, end) of a text, and what they are."""

    start: int
    end: int
    type: str


def parts(tag: str) -> tuple[str, str] | None:
    """Letter and type of a tag, as B and PER, in BIOES's letters; O and "" of the tag outside; None of any other."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    letter, sign, kind = tag.partition("-")
    letter = _LAST.get(letter, letter)
    return (letter, kind) if sign and kind and len(letter) == 1 and letter in _LETTERS else None


def scheme_of(texts: Iterable[Sequence[str]]) -> Scheme:
    """The scheme of texts' tags: the first that all of them keep to, or most nearly, where tags have letters at all."""
    letters: set[str] = set()
    begun = False  # whether a B stands where IOB1 has none
    for tags in texts:
        last = (OUTSIDE, "")
        for tag in tags:
            found = parts(tag)
            if found is None:
                return "plain"
            begun |= found[0] == "B" and (last[1] != found[1] or last[0] not in "BI")
            letters.add(found[0])
            last = found
    if letters & {"E", "S"}:
        return "bioes"
    if letters & {"B", "I"}:
        return "iob2" if begun or "I" not in letters else "iob1"
    return "plain"


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities of a text, in order, whatever the scheme; tags without a letter are outside.

    An entity begins with B or S, and with I or E where none of its type is open; it ends with E or S, and before the
    next one, before O, and at the end.
    """
    found: list[Span] = []
    start, kind = 0, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        letter, own = parts(tag) or (OUTSIDE, "")
        if kind and (letter in "BSO" or own != kind):
            found.append(Span(start, place, kind))
            kind = ""
        if letter != OUTSIDE and not kind:
            start, kind = place, own
        if letter in "ES":
            found.append(Span(start, place + 1, kind))
            kind = ""
    return found


def tags_of(entities: Iterable[Span], words: int, scheme: Scheme) -> list[str]:
    """The tags of so many words with these spans, which do not overlap."""
    tags, end, last = [OUTSIDE] * words, -1, ""
    for span in entities:
        begin = "I" if scheme == "iob1" and (span.start, span.type) != (end, last) else "B"
        tags[span.start : span.end] = [f"I-{span.type}"] * (span.end - span.start)
        if scheme == "bioes":
            tags[span.end - 1] = f"E-{span.type}"
            begin = "S" if span.end - span.start == 1 else "B"
        tags[span.start] = f"{begin}-{span.type}"
        end, last = span.end, span.type
    return tags


def broken(tags: Sequence[str], scheme: Scheme) -> list[int]:
    """The words whose tag has no place under the scheme; of `plain` none."""
    if scheme == "plain":
        return []
    right = tags_of(spans(tags), len(tags), scheme)
    return [place for place, (own, tag) in enumerate(zip(tags, right, strict=True)) if parts(own) != parts(tag)]


def learned_scheme(scheme: Scheme) -> Scheme:
    """That in which a model learns tags of a scheme: of IOB1 it is IOB2, where a tag says by itself what begins."""
    return "iob2" if scheme == "iob1" else scheme


def retagged(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The tags of the same spans as a model learns them."""
    if scheme == "plain":
        return list(tags)
    return tags_of(spans(tags), len(tags), learned_scheme(scheme))
