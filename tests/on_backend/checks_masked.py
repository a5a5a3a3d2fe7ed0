"""Masked language models against transformers', their tensors both ways, and the same masks on every backend."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import FAMILIES, TOLERANCE, call, inputs_of, preset
from safetensors.numpy import load_file, save_file

import recipes
import zoo
from tools.comparisons.targets import hidden
from zoo.backend import Backend
from zoo.data.batches import batches
from zoo.data.catalog import vocabulary_folder
from zoo.data.masking import PLACES, TARGETS, Masking
from zoo.data.tokens import load_tokenizer
from zoo.errors import EnvironmentFault, RecipeError
from zoo.export import LIMIT
from zoo.finished import Run, open_filler
from zoo.models import inference, weights
from zoo.models.blueprint import Blueprint
from zoo.models.builder import build_model
from zoo.models.hugging_face import tensors
from zoo.models.places import at_places, judged
from zoo.models.presets import read_config
from zoo.models.saved import ModelCard, save_model
from zoo.recipe.heads import MaskedHead
from zoo.recipe.types import Tokens
from zoo.tasks import task_of
from zoo.tasks.masked import Masked

pytestmark = pytest.mark.usefixtures("backend")

DIGEST = "e8e6292124e8711d0a05964208f5ac46fa9d7146e2f8398dc153b1d56e18ae38"
"""Of ids, places and targets of some masked rows; NumPy draws them, so a backend cannot change them."""


def model_of(folder: Path, family: str, **head: Any) -> Any:
    found = preset(folder, family)
    config = read_config(found).backbone
    blueprint = Blueprint(backbone=config, head=MaskedHead(**head), units=config.vocabulary_size)
    return build_model(blueprint, preset=found, seed=0, precision="float32")


@pytest.mark.parametrize("family", FAMILIES)
class TestAgainstTransformers:
    def test_scores_and_loss(self, references: Path, backend: Backend, family: str) -> None:
        """Of all tokens, of some places alone, and the loss over these."""
        folder = references / f"{family}-masked"
        reference, model = np.load(folder / "reference.npz"), model_of(folder, family)
        mask, inputs = reference["padding_mask"].astype(bool), inputs_of(reference)
        ours = inference.to_host(call(model, inputs))
        np.testing.assert_allclose(ours[mask], reference["logits"][mask], rtol=0, atol=TOLERANCE)
        given = inputs | hidden(reference["labels"])
        at = at_places(model)
        predict = backend.predictor(at, precision="float32")
        some = inference.to_host(predict({name: given[name] for name in inference.input_names(at)}))
        wanted = np.take_along_axis(reference["logits"], given[PLACES][..., None], axis=1)
        used = given[TARGETS] >= 0
        np.testing.assert_allclose(some[used], wanted[used], rtol=0, atol=TOLERANCE)
        nats, count, right = self.sums(backend, model, given)
        assert nats / count == pytest.approx(float(reference["loss"]), abs=TOLERANCE)
        assert count == used.sum()
        assert right == (wanted.argmax(-1) == given[TARGETS])[used].sum()

    def test_loss_can_fail(self, references: Path, backend: Backend, family: str) -> None:
        folder = references / f"{family}-masked"
        reference, model = np.load(folder / "reference.npz"), model_of(folder, family)
        kernel = model.get_layer("head_dense").kernel
        kernel.assign(weights.to_numpy(kernel) * np.float32(1.01))
        nats, count, _ = self.sums(backend, model, inputs_of(reference) | hidden(reference["labels"]))
        assert abs(nats / count - float(reference["loss"])) > TOLERANCE

    def test_tensors_both_ways(self, references: Path, family: str) -> None:
        """What was read is written again under the same names, and nothing else."""
        folder = references / f"{family}-masked"
        model, config = model_of(folder, family, init="preset"), read_config(preset(folder, family)).backbone
        arrays = {variable.path: weights.to_numpy(variable) for variable in weights.parameters(model)}
        pad = load_tokenizer(folder).specials.pad
        written, source = tensors(arrays, config, head="MaskedLM", pad=pad), load_file(folder / "model.safetensors")
        if family == "roberta":  # its token type is part of the positions, and padding has none
            moved = ("roberta.embeddings.position_embeddings.weight", "roberta.embeddings.token_type_embeddings.weight")
            for name in moved:
                written.pop(name), source.pop(name)
        assert written.keys() == source.keys()
        for name, value in source.items():
            np.testing.assert_array_equal(written[name], value)

    @staticmethod
    def sums(backend: Backend, model: Any, given: dict[str, np.ndarray]) -> np.ndarray:
        judge = judged(model)
        found = backend.predictor(judge, precision="float32")
        return inference.to_host(found({name: given[name] for name in inference.input_names(judge)})).sum(axis=0)


def test_a_preset_without_the_head(references: Path, tmp_path: Path) -> None:
    """Its head is drawn from the seed, and is refused where it was asked for; as is one that is not tied."""
    bare = references / "bert-bare"
    drawn = model_of(bare, "bert").get_layer("head_dense").kernel
    assert np.abs(weights.to_numpy(drawn)).max() <= 0.04
    with pytest.raises(EnvironmentFault, match="ForMaskedLM"):
        model_of(bare, "bert", init="preset")
    source = references / "bert-masked"
    for name in ("config.json", "vocab.txt"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    arrays = load_file(source / "model.safetensors")
    words = arrays["bert.embeddings.word_embeddings.weight"]
    save_file(arrays | {"cls.predictions.decoder.weight": words.copy()}, tmp_path / "model.safetensors")
    model_of(tmp_path, "bert")
    save_file(arrays | {"cls.predictions.decoder.weight": words + 1}, tmp_path / "model.safetensors")
    with pytest.raises(EnvironmentFault, match="tied"):
        model_of(tmp_path, "bert")


def test_masks_are_the_same_everywhere() -> None:
    tokenizer = load_tokenizer(vocabulary_folder("nano_uncased"))
    texts = ["a warm and funny film about two friends", "dull", "the plot makes little sense, and the jokes are old"]
    table = tokenizer.encode(texts, None, Tokens(max_length=32))
    names = ("token_ids", "padding_mask")
    (batch,) = batches(table, None, [np.arange(3)], batch_size=4, lengths=[32], names=names)
    digest = hashlib.sha256()
    for whole in (False, True):
        masking = Masking.of(MaskedHead(share=0.3, whole_word=whole), tokenizer)
        for turn in range(3):
            found = masking.hidden(batch, seed=7, turn=turn)
            for array in (found.inputs["token_ids"], found.inputs[PLACES], found.labels):
                digest.update(np.ascontiguousarray(array, "<i4").tobytes())
    assert digest.hexdigest() == DIGEST


# --- finished runs ------------------------------------------------------------------------------


def run_of(folder: Path, references: Path, family: str) -> Run:
    """A run whose model is a nano masked language model of transformers', with shipped reviews as its texts."""
    found = preset(references / f"{family}-masked", family)
    config = read_config(found).backbone
    blueprint = Blueprint(backbone=config, head=MaskedHead(init="preset"), units=config.vocabulary_size)
    card = ModelCard(blueprint=blueprint, tokens=Tokens(max_length=24), task=Masked())
    model = build_model(blueprint, preset=found, seed=0, precision="float32")
    save_model(folder / "model", model, card, load_tokenizer(found.path))
    backbone = {"family": family, "preset": str(found.path)}
    recipe = {"name": "nano", "task": "masked", "data": {"dataset": "smoke_reviews"}, "model": {"backbone": backbone}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    (folder / "run.json").write_text("{}")
    return zoo.load_run(folder)


@pytest.mark.parametrize(
    ("family", "to"),
    [
        *(("bert", "onnx"), ("distilbert", "onnx"), ("roberta", "onnx")),
        pytest.param("bert", "keras", marks=pytest.mark.at_times),
    ],
)
def test_exports(references: Path, tmp_path: Path, family: str, to: str) -> None:
    """A value is the probability of an entry of the vocabulary at the mask of a text."""
    done = run_of(tmp_path, references, family).export(to)
    assert (done.rows_from, done.agreement) == ("test rows", 1.0)
    assert done.rows > 20
    assert done.difference is not None
    assert 0.0 < done.difference < LIMIT


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.at_times
def test_a_run_and_its_preset_fill_alike(references: Path, tmp_path: Path, family: str) -> None:
    """Whatever the mask is called, and however many texts go together."""
    run = run_of(tmp_path, references, family)
    preset_filler = open_filler(str(references / f"{family}-masked"))
    texts = ["a [MASK] film", "the <mask> is [MASK] and the end is good", "good [MASK]"]
    together = list(preset_filler.probabilities(texts))
    assert [rows.shape[0] for rows in together] == [1, 2, 1]
    for text, rows in zip(texts, together, strict=True):
        (alone,) = run.filler.probabilities([text])
        np.testing.assert_allclose(alone, rows, rtol=0, atol=1e-6)
        np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    guesses = run.fill(texts[1], top=3)
    assert [len(mask) for mask in guesses] == [3, 3]
    likeliest = guesses[0][0]
    assert likeliest.probability == pytest.approx(float(together[1][0].max()), abs=1e-6)
    assert likeliest.piece in run.tokenizer.rust.get_vocab()


def test_what_is_no_masked_language_model(references: Path) -> None:
    with pytest.raises(RecipeError, match="without a masked-language head"):
        open_filler(str(references / "bert-gelu"))
    with pytest.raises(RecipeError, match="vocabulary"):
        open_filler("nano_uncased")


def test_parts_without_hidden_tokens_count_for_nothing() -> None:
    """Sums and counts of the parts of a batch, or of devices' shares, are those of the whole."""
    outputs = np.random.default_rng(0).normal(size=(4, 2, 5)).astype(np.float32)
    targets = np.array([[1, 3], [2, -1], [-1, -1], [-1, -1]], np.int32)
    given, task = (outputs, targets, np.ones(4, np.float32)), task_of(MaskedHead())

    def sums(*rows: int) -> np.ndarray:
        return np.array([inference.to_host(each) for each in task.loss(*(array[[*rows]] for array in given))])

    np.testing.assert_allclose(sums(0, 1) + sums(2, 3), sums(0, 1, 2, 3), rtol=1e-6)
    total, count = sums(2, 3)
    assert total / count == 0.0


@pytest.mark.at_times
def test_a_run_hides_tokens_and_goes_on(tmp_path: Path, backend: Backend) -> None:
    """A whole run in parts and in windows: its loss falls, its figures are those of `zoo.evaluate`, and of a run that
    takes its model as the preset, head included, the first loss is where it ended."""
    changes = {
        "training.epochs": 4,
        "training.accumulate": 2,
        "tokens": {"max_length": 12, "long": "window", "stride": 6},
        "data.limit": {"train": 120, "test": 40},
    }
    run = zoo.train(recipes.load("imdb_masked", profile="smoke", overrides=changes), tmp_path / "run", progress=False)
    epochs = [row for row in run.history if row["kind"] == "epoch"]
    assert epochs[-1]["train"]["loss"] < epochs[0]["train"]["loss"] - 0.3
    assert not any("accuracy" in row for row in run.history if row["kind"] == "step")
    test = run.metrics["test"]
    assert test["perplexity"] == pytest.approx(np.exp(test["loss"]))
    split = zoo.load_data(recipes.load("imdb_masked", profile="smoke", overrides=changes)).test
    again = run.task.figures(run.values(split.texts), split.labels)
    assert again == pytest.approx({key: value for key, value in test.items() if key in again}, abs=1e-5)
    with pytest.raises(RecipeError, match=r"zoo\.fill"):
        run.predict(["a film"])
    more = changes | {"model.backbone": {"family": "bert", "preset": str(run.path)}, "training.epochs": 1}
    further = zoo.train(recipes.load("imdb_masked", profile="smoke", overrides=more), tmp_path / "more", progress=False)
    first = next(row for row in further.history if row["kind"] == "step")
    assert first["loss"] < epochs[0]["train"]["loss"] - 0.3
