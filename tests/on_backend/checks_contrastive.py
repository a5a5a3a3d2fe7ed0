"""Contrastive fine-tuning against sentence-transformers' pooling and loss, as torch computes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import FAMILIES, TOLERANCE, blueprint_of, call, inputs_of, nano_recipe, preset, stepped, stopped_and_whole

from zoo.backend import Backend
from zoo.data.batches import Batch
from zoo.errors import RecipeError
from zoo.export import export
from zoo.models import inference, weights
from zoo.models.builder import build_model
from zoo.recipe.heads import ContrastiveHead
from zoo.tasks.contrastive import Contrastive, cosine_similarity_loss
from zoo.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings(references: Path, family: str) -> None:
    found = preset(references / f"{family}-gelu", family)
    blueprint = blueprint_of(found, ContrastiveHead())
    model = build_model(blueprint, preset=found, seed=0, precision="float32")
    ours = inference.to_host(call(model, inputs_of(np.load(found.path / "reference.npz"))))
    theirs = np.load(references / f"{family}-contrastive.npz")["embeddings"]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
    gamma = model.get_layer("backbone").get_layer("embeddings_layer_norm").gamma
    gamma.assign(weights.to_numpy(gamma) * np.linspace(0.9, 1.1, gamma.shape[0], dtype=np.float32))
    assert (
        np.abs(inference.to_host(call(model, inputs_of(np.load(found.path / "reference.npz")))) - theirs).max() > 1e-3
    )


class TestLoss:
    @staticmethod
    def value(vectors: np.ndarray, classes: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
        from keras import ops

        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        given = map(ops.convert_to_tensor, (unit, classes, shares.astype(np.float32)))
        total, count = map(inference.to_host, cosine_similarity_loss(*given))
        return float(total), float(count)

    def test_value_and_gradient(self, references: Path, backend: Backend) -> None:
        import keras

        found = np.load(references / "bert-contrastive.npz")
        vectors, classes, rows = found["vectors"], found["classes"], len(found["classes"])
        total, count = self.value(vectors, classes, np.ones(rows))
        assert count == rows
        assert total / count == pytest.approx(float(found["loss"]), rel=1e-5)
        # Each row is looked up by its number, so that the gradient of the table is that of the vectors.
        inputs = keras.Input((), dtype="int32", name="row")
        table = keras.layers.Embedding(*vectors.shape, name="table")
        model = keras.Model({"row": inputs}, keras.layers.UnitNormalization(name="unit")(table(inputs)))
        table.set_weights([vectors])
        order = np.arange(rows, dtype=np.int32)
        batch = Batch(inputs={"row": order}, labels=classes, weights=np.ones(rows, np.float32), rows=order, tokens=rows)
        step = stepped(backend, model, Contrastive(names=tuple("abcd")), batch)
        assert step.loss == pytest.approx(float(found["loss"]), rel=1e-5)
        np.testing.assert_allclose(step.gradient["table/embeddings"], found["gradient"], rtol=1e-4, atol=1e-6)

    def test_rows_that_fill_a_batch_up_and_kinds_that_are_missing(self, references: Path) -> None:
        found = np.load(references / "bert-contrastive.npz")
        vectors, classes, rows = found["vectors"], found["classes"], len(found["classes"])
        filled = self.value(
            np.concatenate([vectors, vectors[:3]]), np.concatenate([classes, [0, 0, 0]]), np.arange(rows + 3) < rows
        )
        assert filled[0] / filled[1] == pytest.approx(float(found["loss"]), rel=1e-5)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = (unit @ unit.T)[np.tril_indices(rows, -1)]
        for kind, expected in ((np.zeros(rows, np.int32), (1 - cosines) ** 2), (np.arange(rows), cosines**2)):
            for share in (1.0, 0.3):
                total, count = self.value(vectors, kind, np.full(rows, share))
                assert total / count == pytest.approx(expected.mean(), rel=1e-5)
        assert self.value(vectors[:1], classes[:1], np.ones(1)) == (0.0, 1.0)


def test_batches_have_rows_of_one_class_two_by_two(backend: Backend) -> None:
    """Through a session: every row as often as asked for, all shapes among few lengths, others in the next epoch."""
    changes: dict[str, Any] = {"task": "contrastive", "training.batch_size": 8}
    changes["model.head"] = {"type": "contrastive", "repeats": 3}
    session = prepare(nano_recipe(changes), backend=backend)
    labels = session.splits["train"].labels
    epochs = [[batch.rows for batch in session.epoch_batches(epoch)] for epoch in range(2)]
    assert len(epochs[0]) == session._length.steps_per_epoch
    assert np.bincount(np.concatenate(epochs[0])).tolist() == [3] * len(labels)
    assert not np.array_equal(epochs[0][0], epochs[1][0])
    batch = next(session.epoch_batches(0))
    np.testing.assert_array_equal(batch.labels, labels[batch.rows])
    outputs = session.logits("validation")
    np.testing.assert_allclose(np.linalg.norm(outputs, axis=1), 1.0, rtol=1e-5)


@pytest.mark.at_times
def test_a_run_goes_on_as_if_never_stopped_and_has_no_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.run.write_report", lambda folder, texts: (folder.write_text("report.html", ""), ()))
    changes = {"task": "contrastive", "training.epochs": 3, "data.limit": {"train": 64, "test": 20}}
    asked = nano_recipe({**changes, "training.adversarial": {}, "training.batch_size": 16})
    again, whole = stopped_and_whole(asked, tmp_path)
    assert again.metrics == whole.metrics
    assert np.linalg.norm(whole.values(["a film", "a play"]), axis=1) == pytest.approx(1.0, abs=1e-5)
    for refused in (lambda: whole.predict(["a film"]), lambda: export(whole, "onnx")):
        with pytest.raises(RecipeError, match="got a run of task: contrastive, expected one of another task"):
            refused()
    assert json.loads((whole.path / "predictions.jsonl").read_text().splitlines()[0]).keys() == {
        *("id", "label", "prediction", "cosines")
    }
