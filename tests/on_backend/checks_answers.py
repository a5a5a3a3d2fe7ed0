"""Answers to questions against transformers' models for question answering: logits, loss, and what fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import FAMILIES, TOLERANCE, call, classifier_of, inputs_of, preset

from tools.comparisons.targets import spans
from zoo.models import inference, weights
from zoo.recipe.heads import SpanHead
from zoo.tasks.span import Span

pytestmark = pytest.mark.usefixtures("backend")


def targets_of(reference: Any) -> np.ndarray:
    return spans(reference["start_positions"], reference["end_positions"], reference["token_ids"].shape)


def loss_of(logits: np.ndarray, targets: np.ndarray, counting: np.ndarray) -> float:
    from keras import ops

    total, count = Span().loss(*map(ops.convert_to_tensor, (logits, targets, counting)))
    return float(inference.to_host(total / count))


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_loss_are_those_of_transformers(references: Path, family: str) -> None:
    found = preset(references / f"{family}-answers", family)
    reference = np.load(found.path / "reference.npz")
    model = classifier_of(found, SpanHead(init="preset"), 2)
    ours = inference.to_host(call(model, inputs_of(reference)))
    np.testing.assert_allclose(ours, reference["logits"], rtol=0, atol=TOLERANCE)
    targets, counting = targets_of(reference), np.ones(len(ours), np.float32)
    assert loss_of(ours, targets, counting) == pytest.approx(float(reference["loss"]), abs=1e-5)
    kernel = model.get_layer("logits").kernel
    moved = weights.to_numpy(kernel).copy()
    moved[3, 0] += 1e-2
    kernel.assign(moved)
    other = inference.to_host(call(model, inputs_of(reference)))
    assert np.abs(other - reference["logits"]).max() > TOLERANCE


def test_padding_and_filling_rows_do_not_count(references: Path) -> None:
    """Nor does a row's length, which is told by targets of -1; a logit that counts is seen."""
    reference = np.load(references / "bert-answers" / "reference.npz")
    targets, logits = targets_of(reference), reference["logits"].copy()
    counting = np.array([1, 1, 1, 0], np.float32)
    alone = loss_of(logits[:3], targets[:3], counting[:3])
    targets[3] = -1
    wide = [np.pad(logits, ((0, 0), (0, 5), (0, 0)), constant_values=50.0)]
    wide.append(np.pad(targets, ((0, 0), (0, 5)), constant_values=-1))
    assert loss_of(*wide, counting) == pytest.approx(alone, rel=1e-6)
    logits[1, 12, 1] += 1.0
    assert loss_of(logits[:3], targets[:3], counting[:3]) != pytest.approx(alone, rel=1e-4)
