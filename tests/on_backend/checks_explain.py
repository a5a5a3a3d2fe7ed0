"""Explanations on the backend of this process: attention against transformers, integrated gradients against Captum."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nano import FAMILIES, TOLERANCE, blueprint_of, preset, task_with
from references import EXPLAINED

import zoo
from zoo.data.tokens import load_tokenizer
from zoo.errors import DataError, RecipeError
from zoo.explain.attribution import integrated_gradients, occlusion, word_importance
from zoo.explain.deletion import deletion
from zoo.explain.subject import Subject
from zoo.finished import Run
from zoo.models import inference, weights
from zoo.models.blueprint import ModelCard
from zoo.models.builder import build_model
from zoo.models.opened import Opened
from zoo.recipe.heads import BinaryHead, ClassifierHead
from zoo.recipe.types import Tokens
from zoo.score import metrics

pytestmark = pytest.mark.usefixtures("backend")

CASES = (*FAMILIES, "minilm")
RELATIVE = 1e-2
"""Of the largest score: what two quadratures of the same integral may differ by."""


class Case:
    """A preset of references.py as if it were a run, with what transformers and Captum say of a text."""

    def __init__(self, references: Path, name: str, head: Any = None, kind: str = "gelu", classes: int = 3) -> None:
        family = "bert" if name == "minilm" else name
        folder = references / (name if name == "minilm" else f"{family}-{kind}")
        found = preset(folder, family)
        blueprint = blueprint_of(found, head or ClassifierHead(init="preset"), classes)
        self.model = build_model(blueprint, preset=found, seed=0, precision="float32")
        names = ("zero", "one", "two")[:classes]
        card = ModelCard(
            blueprint=blueprint,
            tokens=Tokens(max_length=64 if name == "minilm" else 32),
            task=task_with(head or ClassifierHead(), names),
        )
        opened = Opened(self.model)
        self.run: Any = SimpleNamespace(card=card, task=card.task, tokenizer=load_tokenizer(folder), opened=opened)
        self.text, target = EXPLAINED["minilm" if name == "minilm" else "nano"]
        if kind == "gelu":
            self.reference = np.load(folder / "explained.npz")
            self.subject = Subject(self.run, self.text, None, names[target])

    def variable(self, ending: str) -> Any:
        return next(variable for variable in self.model.trainable_variables if variable.path.endswith(ending))


@pytest.fixture(scope="module")
def cases(references: Path) -> dict[str, Case]:
    """By name; what is compiled for one is compiled once."""
    return {name: Case(references, name) for name in CASES}


@pytest.fixture(params=[*FAMILIES, pytest.param("minilm", marks=pytest.mark.at_times)])
def case(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    return cases[request.param]


class TestAgainstOthers:
    def test_the_tokens_are_the_same(self, case: Case) -> None:
        np.testing.assert_array_equal(case.subject.ids, case.reference["ids"])
        logits = case.subject.logits([np.ones(len(case.subject), bool)])
        np.testing.assert_allclose(logits[0], case.reference["logits"], rtol=0, atol=1e-3)

    def test_attention_is_that_of_transformers(self, case: Case) -> None:
        found = case.run.opened.attention(case.subject.inputs(1))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, case.reference["attention"], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(found.sum(axis=-1), 1.0, atol=1e-5)

    def test_integrated_gradients_are_those_of_captum(self, case: Case) -> None:
        found = integrated_gradients(case.subject, steps=128)
        scores = case.reference["scores"]
        np.testing.assert_allclose(found.tokens, scores, rtol=0, atol=RELATIVE * np.abs(scores).max())
        assert found.completeness is not None
        assert found.completeness.holds
        assert found.completeness.gap < 0.01
        assert np.all(found.tokens[case.subject.framing] == 0.0)  # type: ignore[index]
        # Every token lies within a word here, so the words hold all of the sum.
        assert sum(word.score for word in found.words) == pytest.approx(found.completeness.total)

    def test_as_it_is_called(self, case: Case) -> None:
        """With the steps that users get, which are fewer."""
        found = word_importance(case.run, case.text, label=case.subject.label)
        exact = integrated_gradients(case.subject, steps=128).words
        largest = max(abs(word.score) for word in exact)
        assert [(word.start, word.end) for word in found] == [(word.start, word.end) for word in exact]
        assert [word.score for word in found] == pytest.approx([word.score for word in exact], abs=0.05 * largest)


def test_the_comparisons_can_fail(references: Path) -> None:
    """One weight of a query, and one of an embedding, a little moved."""
    case = Case(references, "bert")
    kernel = case.variable("transformer_layer_1/self_attention_layer/query/kernel")
    moved = weights.to_numpy(kernel).copy()
    moved[3] += 0.05
    kernel.assign(moved)
    found = case.run.opened.attention(case.subject.inputs(1))
    assert np.abs(found - case.reference["attention"])[0].max() < TOLERANCE  # the layer before it is as it was
    assert np.abs(found - case.reference["attention"])[1].max() > 10 * TOLERANCE
    table = case.variable("token_embedding/embeddings")
    moved = weights.to_numpy(table).copy()
    moved[case.subject.ids[2], 5] += 0.3  # not all of it alike: the norm that follows would take that away
    table.assign(moved)
    scores = case.reference["scores"]
    wrong = integrated_gradients(case.subject, steps=128).tokens
    assert wrong is not None
    assert np.abs(wrong - scores).max() > RELATIVE * np.abs(scores).max()


def test_steps_are_doubled_until_the_scores_add_up(cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.explain.attribution.MOST_STEPS", 128)
    monkeypatch.setattr("zoo.explain.attribution.TOLERANCE", 0.0)
    done = integrated_gradients(cases["bert"].subject, steps=32).completeness
    assert done is not None
    assert (done.steps, done.holds) == (128, False)
    assert f"{done.gap:.1%} apart, 128 steps); more than 0% apart even so" in done.told()
    monkeypatch.setattr("zoo.explain.attribution.TOLERANCE", 1.0)
    done = integrated_gradients(cases["bert"].subject, steps=32).completeness
    assert done is not None
    assert (done.steps, done.holds) == (32, True)


def test_a_binary_head_has_one_logit_for_two_classes(references: Path) -> None:
    case = Case(references, "bert", BinaryHead(init="preset"), kind="one", classes=2)
    scores = {}
    for label in ("zero", "one"):
        subject = Subject(case.run, case.text, None, label)
        found = integrated_gradients(subject)
        assert found.completeness is not None
        assert found.completeness.holds
        scores[label] = np.array([word.score for word in found.words])
        left_out = occlusion(subject)
        scores[f"occluded {label}"] = np.array([word.score for word in left_out.words])
    np.testing.assert_allclose(scores["zero"], -scores["one"], atol=1e-6)
    np.testing.assert_allclose(scores["occluded zero"], -scores["occluded one"], atol=1e-6)
    assert np.abs(scores["one"]).max() > 1e-3


def test_occlusion_is_the_models_own_loss(cases: dict[str, Case]) -> None:
    """The second word by hand: its tokens replaced, the model called."""
    case = cases["roberta"]
    subject = case.subject
    found = occlusion(subject)
    assert [subject.text[word.start : word.end] for word in found.words][:4] == ["a", "touching", "film", ","]
    tokens = [number for number, piece in enumerate(subject.pieces) if piece.of and 2 <= piece.start < 10]  # type: ignore[operator]
    assert len(tokens) >= 1
    inputs = subject.inputs(2)
    inputs["token_ids"][1, tokens] = case.run.tokenizer.rust.token_to_id("<mask>")
    names = inference.input_names(case.model)
    logits = inference.to_host(case.model({name: inputs[name] for name in names}, training=False))
    shares = metrics.probabilities(logits, "classifier")[:, subject.target]
    assert found.words[1].score == pytest.approx(shares[0] - shares[1], abs=1e-6)


def test_deletion_takes_words_out(cases: dict[str, Case]) -> None:
    case = cases["bert"]
    subject = case.subject
    count = len(subject.spans)
    found = deletion(subject, {"backwards": np.arange(count)[::-1]})
    curve = found.curves["backwards"]
    assert (curve.shares[0], curve.shares[-1], len(curve.shares)) == (0.0, 1.0, count + 1)
    # Without its last word the text is the text without its last word.
    shorter = Subject(case.run, case.text[: subject.spans[-1].start], None, subject.label)
    assert curve.probabilities[1] == pytest.approx(shorter.probabilities[subject.label], abs=1e-5)
    assert curve.probabilities[0] == pytest.approx(subject.probabilities[subject.label], abs=1e-5)
    assert np.ptp(curve.probabilities) > 1e-3
    ends = {(round(c.probabilities[0], 5), round(c.probabilities[-1], 5)) for c in (curve, *found.random)}
    assert len(ends) == 1  # all begin with the text and end with nothing
    again = deletion(subject, {"backwards": np.arange(count)[::-1]})
    np.testing.assert_array_equal(again.random[0].probabilities, found.random[0].probabilities)


def test_a_pair_and_a_text_that_is_cut(cases: dict[str, Case]) -> None:
    case = cases["roberta"]
    subject = Subject(case.run, "a film", "It is caf\u00e9 good", None)
    found = integrated_gradients(subject)
    places = [(word.of, subject.words_of([word])[0]) for word in found.words]
    assert places == [("text", "a"), ("text", "film"), *(("pair", word) for word in ("It", "is", "caf\u00e9", "good"))]
    assert found.completeness is not None
    assert found.completeness.holds
    long = Subject(case.run, "film " * 100, None, None)
    assert len(long) == 32
    assert len(long.spans) < 100
    with pytest.raises(RecipeError, match=r"did you mean one\?"):
        Subject(case.run, "a", None, "onee")


@pytest.mark.at_times
def test_a_run_explains_itself(whole: Run) -> None:
    text = "A <script>touching</script> film for $\\frac{ \x1b[31m."
    found = whole.explain(text)
    (predicted,) = whole.predict([text])
    with pytest.raises(DataError, match="trained on single texts"):
        whole.explain(text, "a second one")
    assert found.label == found.predicted == predicted.label
    assert found.probabilities == pytest.approx(predicted.probabilities, abs=1e-6)
    assert "".join(found.names).count("script") == 2
    quick = zoo.load_run(whole.path, precision="bfloat16").explain(text)
    np.testing.assert_array_equal(quick.attention, found.attention)  # of the float32 model, too
    assert quick.gradients.words == found.gradients.words
    assert found.unseen == 0
    long = whole.explain("film " * 100)
    assert long.unseen == 100 - len(long.names) > 0
