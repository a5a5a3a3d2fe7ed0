"""Sentences that are asked of a masked language model, and what is made of its answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.data.catalog import vocabulary_folder
from zoo.data.tokens import Tokenizer, load_tokenizer
from zoo.errors import DataError, RecipeError
from zoo.explain.bias import OWN, Templates, measure, read_templates
from zoo.explain.bias_plot import MOST_SUBJECTS, gaps
from zoo.models.filling import Filler

WORDS = ["he", "his", "she", "her", "nurse", "doctor", "is", "a", "an", "engineer", ".", "said", "the", "that"]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    return load_tokenizer(tmp_path, uncased=True)


class Stub(Filler):
    """A model that finds `he` likely beside doctors and `she` beside all others."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(None, tokenizer, longest=16)
        self.asked: list[str] = []

    def probabilities(self, texts: Sequence[str]) -> Iterator[Any]:
        for text in texts:
            self.asked.append(text)
            row = np.zeros((1, self.tokenizer.vocabulary_size))
            he = 0.6 if "doctor" in text else 0.1
            for word, share in (("he", he), ("his", 0.1), ("she", 0.5 - he / 2)):
                row[0, self.tokenizer.rust.token_to_id(word)] = share
            yield row


def test_figures(tokenizer: Tokenizer) -> None:
    filler = Stub(tokenizer)
    templates = Templates(
        groups={"he": ("he", "his", "himself"), "she": ("she", "her")},
        subjects=("doctor", "nurse", "engineer"),
        templates=("[MASK] is {a_subject}.", "The {subject} said that [MASK] is."),
    )
    found = measure(filler, templates, model="mine")
    assert filler.asked[:2] == ["[MASK] is a doctor.", "The doctor said that [MASK] is."]
    assert "[MASK] is an engineer." in filler.asked
    doctor, nurse, _ = found.leanings
    assert doctor.probabilities == {"he": pytest.approx(0.7), "she": pytest.approx(0.2)}
    assert (doctor.gap, nurse.gap) == (pytest.approx(0.5), pytest.approx(-0.25))
    assert found.mean_gap == pytest.approx(1 / 3)
    assert found.groups == {"he": ("he", "his"), "she": ("she", "her")}
    assert found.left_out == ("himself",)
    assert len(doctor.sentences) == 2
    assert found.columns() == ("subject", "he", "she", "he less she")
    assert found.rows()[0] == ("doctor", "0.7000", "0.2000", "+0.5000")
    assert "doctor" in found._repr_html_()
    assert gaps(found).png().startswith(b"\x89PNG")
    many = found.leanings * MOST_SUBJECTS
    assert "others left out" in gaps(type(found)(**{**vars(found), "leanings": many})).title
    with pytest.raises(DataError, match=r"groups\.they"):
        measure(filler, templates.model_copy(update={"groups": {"he": ("he",), "they": ("they",)}}), model="mine")


def test_own_templates() -> None:
    found = read_templates(OWN)
    assert {"nurse", "doctor", "receptionist", "president", "programmer"} <= set(found.subjects)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "valid dictionary"),
        ("groups: {a: [x], b: [y]}\nsubjects: [nurse]\ntemplates: ['{subject} is']", "0 masks"),
        ("groups: {a: [x], b: [y]}\nsubjects: [nurse]\ntemplates: ['[MASK] is']", "no subject"),
        ("groups: {a: [x]}\nsubjects: [nurse]\ntemplates: ['[MASK] is {subject}']", "groups"),
        ("group: {a: [x]}", "group"),
        ("groups: [", "line|expected"),
    ],
)
def test_refused_files(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=match):
        read_templates(path)
    with pytest.raises(RecipeError, match=r"[Nn]o such"):
        read_templates(tmp_path / "none.yaml")


def test_spellings(tokenizer: Tokenizer) -> None:
    """Words as entries have them: with their space in RoBERTa's vocabularies, or at the begin of a text."""
    pieces = tokenizer.pieces(Stub(tokenizer).spellings("she"))
    assert pieces == ["she"]
    filler = Stub(load_tokenizer(vocabulary_folder("nano_bpe")))
    found = filler.tokenizer.pieces(filler.spellings("the"))
    assert "Ġthe" in found
    assert "the" not in found


@pytest.mark.parametrize(("text", "match"), [("no mask", "no mask"), ("a " * 40 + "[MASK]", "after its first")])
def test_texts_that_cannot_be_filled(tokenizer: Tokenizer, text: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        next(Filler(None, tokenizer, longest=16).probabilities([text]))
