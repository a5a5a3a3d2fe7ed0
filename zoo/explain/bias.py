"""Which pronouns a masked language model finds likely beside which occupation.

In come a `Filler` and sentences with a mask, of a YAML file or our own; out comes a `Bias`: by subject, the
probability of each group of words at the mask, and the gap between the groups. It shows what the model has taken from
its texts (Bolukbasi et al. 2016; Zhao et al. 2018 for occupations), and no more than that: other sentences give other
figures. Refused, with every fault at once: what is no such file, and groups of which no word is in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from zoo.data.masking import MASKS
from zoo.errors import DataError, RecipeError
from zoo.models.filling import Filler
from zoo.recipe import notebook
from zoo.recipe.kinds import Config, Text
from zoo.recipe.yaml12 import dotted, read_yaml

__all__ = ["OWN", "Bias", "Leaning", "Templates", "measure", "read_templates"]

OWN = Path(__file__).with_name("templates") / "pronouns.yaml"
"""The sentences that are asked where none are given."""
SUBJECT, A_SUBJECT = "{subject}", "{a_subject}"
VOWELS = "aeiou"
MOST_BYTES = 256 * 1024

_Words = Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]


class Templates(Config):
    """Sentences to be completed."""

    groups: Annotated[dict[Text, _Words], Field(min_length=2)]
    """What is compared, by name: words that may stand at the mask."""
    subjects: _Words
    """What the sentences speak of, as occupations."""
    templates: _Words
    """Sentences, each with one mask and with {subject}, or {a_subject} with its article."""

    @model_validator(mode="after")
    def _can_be_filled(self) -> Self:
        for template in self.templates:
            masks = sum(template.count(mask) for mask in MASKS)
            if masks != 1:
                raise ValueError(f"{template!r} has {masks} masks, expected one {MASKS[0]}")
            if SUBJECT not in template and A_SUBJECT not in template:
                raise ValueError(f"{template!r} has no subject, expected {SUBJECT} or {A_SUBJECT}")
        return self

    def sentence(self, template: str, subject: str) -> str:
        """A template about a subject."""
        article = "an" if subject[:1].lower() in VOWELS else "a"
        return template.replace(A_SUBJECT, f"{article} {subject}").replace(SUBJECT, subject)


@dataclass(frozen=True, kw_only=True)
class Leaning:
    """What is likely beside one subject.

    probabilities: of each group, by name, the mean over the templates. gap: by how much the first group is likelier
    than the likeliest of the others, -1 to 1. sentences: each sentence with the probability of each group in it.
    """

    subject: str
    probabilities: dict[str, float]
    gap: float
    sentences: dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Bias:
    """What a model finds likely beside each subject.

    model: whose figures they are. groups: entries of the vocabulary that each group is made of. mean_gap: the mean size
    of the gaps, whichever way they go, 0 to 1. left_out: words that are no entry of the vocabulary.
    """

    model: str
    groups: dict[str, tuple[str, ...]]
    leanings: tuple[Leaning, ...]
    mean_gap: float
    left_out: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """In plain values."""
        return asdict(self)

    def rows(self) -> list[tuple[str, ...]]:
        """The table: a subject, its probabilities and its gap, for people."""
        return [
            (each.subject, *(f"{each.probabilities[name]:.4f}" for name in self.groups), f"{each.gap:+.4f}")
            for each in self.leanings
        ]

    def columns(self) -> tuple[str, ...]:
        """The titles of `rows`."""
        first, *others = self.groups
        return ("subject", *self.groups, f"{first} less {others[0] if len(others) == 1 else 'the likeliest other'}")

    def _repr_html_(self) -> str:
        """In a notebook: the table."""
        told = f"{self.model}; mean size of the gaps {self.mean_gap:.4f}"
        return notebook.heading("bias", told) + notebook.table(self.rows(), self.columns())


def read_templates(path: str | Path) -> Templates:
    """The templates of a YAML file; RecipeError with every fault."""
    path = Path(path)
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except OSError as error:
        raise RecipeError(
            f"{path}: {error.strerror}, expected a YAML file with groups, subjects and templates"
        ) from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 (byte {error.start}), expected a YAML file") from error
    if len(raw) > MOST_BYTES:
        raise RecipeError(f"{path}: got {len(raw):,} bytes, expected at most {MOST_BYTES:,}: ask fewer sentences")
    document = read_yaml(text, str(path))
    if document.faults:
        raise RecipeError(str(fault) for fault in document.faults)
    try:
        return Templates.model_validate(document.data)
    except ValidationError as error:
        raise RecipeError(
            f"{path}  {dotted(each['loc']) + ': ' if each['loc'] else ''}{each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False)
        ) from error


def measure(filler: Filler, templates: Templates, *, model: str) -> Bias:
    """What a model finds likely.

    Args:
        filler: the model.
        templates: what it is asked.
        model: its name, to be shown.

    Raises:
        DataError: of a group no word is an entry of the vocabulary; a sentence is too long.
    """
    ids = {name: {word: filler.spellings(word) for word in words} for name, words in templates.groups.items()}
    empty = [name for name, words in ids.items() if not any(words.values())]
    if empty:
        raise DataError(
            f"groups.{name}: {', '.join(templates.groups[name])}: none is an entry of the vocabulary, expected one at "
            "least: name words that it has"
            for name in empty
        )
    numbers = {name: sorted({each for found in words.values() for each in found}) for name, words in ids.items()}
    asked = [
        (subject, templates.sentence(template, subject))
        for subject in templates.subjects
        for template in templates.templates
    ]
    found: dict[str, dict[str, dict[str, float]]] = {subject: {} for subject in templates.subjects}
    for (subject, sentence), rows in zip(asked, filler.probabilities([text for _, text in asked]), strict=True):
        found[subject][sentence] = {name: float(rows[0, group].sum()) for name, group in numbers.items()}
    leanings = tuple(_leaning(subject, sentences) for subject, sentences in found.items())
    return Bias(
        model=model,
        groups={name: tuple(filler.tokenizer.pieces(group)) for name, group in numbers.items()},
        leanings=leanings,
        mean_gap=float(np.mean([abs(each.gap) for each in leanings])),
        left_out=tuple(word for words in ids.values() for word, entries in words.items() if not entries),
    )


def _leaning(subject: str, sentences: Mapping[str, Mapping[str, float]]) -> Leaning:
    shares = [dict(each) for each in sentences.values()]
    means = {name: float(np.mean([share[name] for share in shares])) for name in shares[0]}
    first, *others = means.values()
    return Leaning(
        subject=subject,
        probabilities=means,
        gap=first - max(others),
        sentences={sentence: dict(share) for sentence, share in sentences.items()},
    )
