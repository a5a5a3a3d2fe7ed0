"""The rows of a file in SQuAD's layout (Rajpurkar et al. 2016; of version 2.0, 2018), from its parsed JSON.

In comes the document, articles of paragraphs of questions; out come rows, one a question, in the file's order. Refused,
as ValueError with the place: other layouts, and questions that have answers and are said to have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["COLUMNS", "questions"]

COLUMNS = ("id", "title", "question", "context", "answers", "is_impossible")
"""Those of a row: a list of `{text, answer_start}` are the answers, None where the file does not tell them."""


def questions(document: Any) -> Iterator[dict[str, Any]]:
    """The rows, each with COLUMNS."""
    for article, place in _each(document, "data", ""):
        title = article.get("title")
        for paragraph, within in _each(article, "paragraphs", place):
            context = _text(paragraph, "context", within)
            for asked, where in _each(paragraph, "qas", within):
                answers = asked.get("answers")
                impossible = asked.get("is_impossible", None if answers is None else not answers)
                if impossible is True and answers:
                    raise ValueError(f"{where} has answers and is_impossible: true, expected one of the two")
                yield {
                    "id": asked.get("id"),
                    "title": title,
                    "question": _text(asked, "question", where),
                    "context": context,
                    "answers": answers,
                    "is_impossible": impossible,
                }


def _each(group: Any, key: str, place: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The objects of a list, each with where it stands."""
    found = group.get(key) if isinstance(group, Mapping) else None
    where = f"{place}.{key}" if place else key
    if not isinstance(found, list):
        raise ValueError(
            f"no list {where}, expected SQuAD's layout: data[].paragraphs[], each with a context and qas[] of "
            "question, id and answers; save other rows as jsonl"
        )
    for number, value in enumerate(found):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}[{number}] is {value!r:.40}, expected an object")
        yield value, f"{where}[{number}]"


def _text(group: Mapping[str, Any], key: str, place: str) -> str:
    found = group.get(key)
    if not isinstance(found, str):
        raise ValueError(f"{place}.{key} is {found!r:.40}, expected a string")
    return found
