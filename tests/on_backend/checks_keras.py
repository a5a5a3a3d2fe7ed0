"""What `zoo.build` gives is a plain keras.Model: each thing that Keras documents of one, on this process's backend."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from nano import FAMILIES, hidden_states, tiny_config

from zoo.backend import Backend, without_tensorflow
from zoo.export.stock import stock_backbone
from zoo.models import heads, inference, weights
from zoo.models.encoder import BACKBONES, assemble, keras_hub_backbone
from zoo.recipe.heads import ClassifierHead
from zoo.recipe.optimizers import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer

with without_tensorflow():
    import keras_hub

pytestmark = pytest.mark.usefixtures("backend")

SIZE = {"vocabulary_size": 50, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
ROWS, LENGTH = 8, 10
LABELS = np.arange(ROWS, dtype=np.int32) % 3


def config_of(family: str, layers: int = 1) -> Any:
    return replace(tiny_config(family), **SIZE, num_layers=layers, max_positions=16, dropout=0.0, attention_dropout=0.0)


def filled(model: Any) -> Any:
    """The model with weights large enough for its layers to matter."""
    random = np.random.default_rng(0)
    for variable in sorted(model.trainable_variables, key=lambda variable: variable.path):
        variable.assign(random.normal(0.0, 0.3, variable.shape).astype(np.float32))
    return model


def ours(family: str = "bert", layers: int = 1) -> Any:
    config = config_of(family, layers)
    return filled(heads.attach(assemble(config, dtype="float32"), config, ClassifierHead(dropout=0.0), 3))


def stock(family: str = "bert") -> Any:
    """The same of keras-hub's layers, with the same weights."""
    config = config_of(family)
    return filled(heads.attach(stock_backbone(config), config, ClassifierHead(dropout=0.0), 3, masks="native"))


def inputs_of(model: Any) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    found = {
        "token_ids": random.integers(1, 50, (ROWS, LENGTH)).astype(np.int32),
        "padding_mask": (np.arange(LENGTH) < random.integers(3, LENGTH + 1, (ROWS, 1))).astype(np.int32),
        "segment_ids": np.tile(np.arange(LENGTH) % 2, (ROWS, 1)).astype(np.int32),
    }
    return {name: found[name] for name in inference.input_names(model)}


def logits(model: Any) -> np.ndarray:
    return inference.to_host(model(inputs_of(model), training=False))


def compiled(model: Any, optimizer: Any) -> Any:
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def values(model: Any) -> dict[str, np.ndarray]:
    """All weights by path, but those whose gradient is only rounding: attention's weights do not depend on them."""
    return {
        v.path: weights.to_numpy(v).copy()
        for v in model.variables
        if "seed" not in v.name and not v.path.endswith("key/bias")
    }


class TestFit:
    @pytest.mark.at_times
    def test_fit_evaluate_predict_save_and_go_on(self, tmp_path: Path) -> None:
        model = compiled(ours(), keras.optimizers.Adam(1e-2))
        history = model.fit(inputs_of(model), LABELS, batch_size=4, epochs=6, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]
        loss, accuracy = model.evaluate(inputs_of(model), LABELS, verbose=0)
        found = model.predict(inputs_of(model), verbose=0)
        np.testing.assert_allclose(found, logits(model), rtol=0, atol=1e-5)
        assert accuracy == pytest.approx((found.argmax(1) == LABELS).mean())
        shares = np.exp(found - found.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        assert loss == pytest.approx(-np.log(shares[np.arange(ROWS), LABELS]).mean(), rel=1e-4)

        # With its optimizer's state, as Keras saves it.
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        for each in (model, again):
            each.fit(inputs_of(each), LABELS, batch_size=4, epochs=1, shuffle=False, verbose=0)
        np.testing.assert_allclose(logits(again), logits(model), rtol=0, atol=1e-5)

    @pytest.mark.at_times
    def test_keras_optimizers(self, backend: Backend) -> None:
        """As with keras-hub's layers; on TensorFlow, where Keras gets embeddings wrong, but for these."""
        found, expected = trained_alike("Adam", {"clipvalue": 0.01, "gradient_accumulation_steps": 2})
        for path, value in expected.items():
            if backend.name != "tensorflow" or "_embedding/" not in path:
                np.testing.assert_allclose(found[path], value, rtol=0, atol=2e-5, err_msg=path)

    def test_other_optimizers_on_torch(self, backend: Backend) -> None:
        """Where a gradient of rows alone would end in an error; the other backends have none such."""
        names = (
            "SGD",
            "RMSprop",
            "Adadelta",
            "Adagrad",
            "Adamax",
            "Adafactor",
            "Nadam",
            "Ftrl",
            "Lion",
            "Lamb",
            "Muon",
        )
        more = ({"clipnorm": 0.1}, {"global_clipnorm": 0.1}, {"amsgrad": True}, {"use_ema": True})
        for name, options in (*((name, {}) for name in names), *(("Adam", options) for options in more)):
            if backend.name == "torch":
                found, expected = trained_alike(name, options)
                for path, value in expected.items():
                    np.testing.assert_allclose(found[path], value, rtol=0, atol=2e-5, err_msg=f"{name} {path}")


def trained_alike(name: str, options: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Weights of ours and of keras-hub's after a step of one of Keras's optimizers."""
    found = []
    for model in (ours(), stock()):
        before = values(model)
        compiled(model, getattr(keras.optimizers, name)(learning_rate=1e-3, **options))
        model.fit(inputs_of(model), LABELS, epochs=options.get("gradient_accumulation_steps", 1), verbose=0)
        found.append(values(model))
        assert all(np.any(found[-1][path] != before[path]) for path in before)
    return found[0], found[1]


def test_tensorflows_embeddings_get_the_gradient_of_other_backends(backend: Backend) -> None:
    """A step of Adam from zero moments is the gradient's sign times the rate, of repeated tokens too."""
    model = compiled(ours(), keras.optimizers.Adam(1e-3, epsilon=1e-12))
    before = values(model)
    model.fit(inputs_of(model), LABELS, batch_size=ROWS, epochs=1, shuffle=False, verbose=0)
    for name in ("token_embedding", "segment_embedding"):
        moved = np.abs(values(model)[f"{name}/embeddings"] - before[f"{name}/embeddings"])
        touched = np.unique(inputs_of(model)["token_ids" if name == "token_embedding" else "segment_ids"])
        np.testing.assert_allclose(np.median(moved[touched]), 1e-3, rtol=1e-3)


class TestSaving:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_save_and_load(self, family: str, tmp_path: Path) -> None:
        model = ours(family)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(logits(again), logits(model))
        assert type(again.get_layer("backbone")) is BACKBONES[family]

    @pytest.mark.at_times
    def test_load_with_import_zoo_alone(self, backend: Backend, tmp_path: Path) -> None:
        """In a process that has imported nothing of the zoo but `zoo`; on torch after Keras, elsewhere before it."""
        model = ours()
        model.save(tmp_path / "model.keras")
        np.savez(tmp_path / "inputs.npz", **inputs_of(model))
        code = (
            f"import sys, numpy\n{'import keras, zoo' if backend.name == 'torch' else 'import zoo, keras'}\n"
            "model = keras.saving.load_model(sys.argv[1] + '/model.keras')\n"
            "found = model(dict(numpy.load(sys.argv[1] + '/inputs.npz')))\n"
            "numpy.save(sys.argv[1] + '/logits.npy', keras.ops.convert_to_numpy(found))"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=os.environ, check=True)
        np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), logits(model), rtol=0, atol=1e-6)

    def test_config_clone_and_summary(self) -> None:
        model = ours()
        copy = keras.models.clone_model(model)
        assert [v.path for v in copy.trainable_variables] == [v.path for v in model.trainable_variables]
        kernel = weights.to_numpy(copy.get_layer("backbone").transformer_layers[0].self_attention.query_dense.kernel)
        assert 0.01 < kernel.std() < 0.03  # drawn, not zero
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(logits(copy), logits(model))
        lines: list[str] = []
        model.summary(print_fn=lines.append)
        assert "backbone" in "\n".join(lines)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_presets(self, family: str, tmp_path: Path) -> None:
        """keras-hub loads what a backbone of ours saves; ours loads what keras-hub's own saved."""
        backbone = ours(family).get_layer("backbone")
        known = type(backbone).__mro__[1]
        assert known in vars(keras_hub.models).values()
        assert isinstance(backbone, known)
        backbone.save_to_preset(str(tmp_path / "ours"))
        for kind in (keras_hub.models.Backbone, known, type(backbone)):
            again = kind.from_preset(str(tmp_path / "ours"))
            np.testing.assert_array_equal(
                hidden_states(again, inputs_of(again)), hidden_states(backbone, inputs_of(again))
            )
        theirs = filled(keras_hub_backbone(config_of(family)))
        theirs.save_to_preset(str(tmp_path / "theirs"))
        taken = type(backbone).from_preset(str(tmp_path / "theirs"))
        assert type(taken) is type(backbone)
        np.testing.assert_allclose(
            hidden_states(taken, inputs_of(taken)), hidden_states(theirs, inputs_of(taken)), rtol=0, atol=1e-5
        )


class TestChanged:
    @pytest.mark.filterwarnings("ignore:.*quantiz:UserWarning")  # of layers that have nothing to quantize
    @pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
    @pytest.mark.at_times
    def test_quantize(self, mode: str, tmp_path: Path) -> None:
        """As exact as keras-hub's layers are, and loaded again as it was."""
        mine, theirs = ours("distilbert"), stock("distilbert")
        exact = logits(mine)
        for model in (mine, theirs):
            gc.freeze()  # Keras collects garbage after each layer, all that was imported included
            model.quantize(mode)
            gc.unfreeze()
        found = logits(mine)
        np.testing.assert_allclose(found, logits(theirs), rtol=0, atol=1e-5)
        assert np.any(found != exact)
        mine.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(logits(again), found, rtol=0, atol=1e-6)

    @pytest.mark.at_times
    def test_low_rank_adapters(self, tmp_path: Path) -> None:
        model = ours()
        exact = logits(model)
        model.get_layer("backbone").enable_lora(4)
        np.testing.assert_allclose(logits(model), exact, rtol=0, atol=1e-6)  # they begin at zero
        compiled(model, keras.optimizers.Adam(1e-2))
        trained = {variable.path for variable in model.trainable_variables}
        assert any("lora_kernel_a" in path for path in trained)
        before = values(model)
        model.fit(inputs_of(model), LABELS, epochs=3, verbose=0)
        after = values(model)
        assert {path for path in after if np.any(after[path] != before[path])} == trained & set(after)
        assert np.abs(logits(model) - exact).max() > 1e-2
        model.save(tmp_path / "model.keras")  # merged, as Keras does it
        again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
        np.testing.assert_allclose(logits(again), logits(model), rtol=0, atol=1e-5)

    @pytest.mark.at_times
    @pytest.mark.parametrize("by", ["fit", "zoo"])
    def test_frozen_layers_stay(self, by: str, backend: Backend) -> None:
        model = ours(layers=2)
        backbone = model.get_layer("backbone")
        backbone.get_layer("token_embedding").trainable = False
        backbone.get_layer("transformer_layer_0").trainable = False
        frozen = ("token_embedding/", "transformer_layer_0/")
        assert not any(v.path.startswith(frozen) for v in model.trainable_variables)
        before = values(model)
        if by == "fit":
            compiled(model, keras.optimizers.Adam(1e-2)).fit(inputs_of(model), LABELS, epochs=1, verbose=0)
        else:
            optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-2])
            trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32")
            trainer.step(inputs_of(model), LABELS, np.ones(ROWS, np.float32))
            trainer.commit()
        after = values(model)
        moved = {path for path in after if np.any(after[path] != before[path])}
        assert not any(path.startswith(frozen) for path in moved)
        assert {path for path in after if path.startswith("transformer_layer_1/")} <= moved

    def test_frozen_weights_are_saved(self, tmp_path: Path) -> None:
        """What is saved and loaded are all weights: of a run's model, and of the best epoch."""
        model = ours()
        model.get_layer("backbone").trainable = False
        kept = values(model)
        weights.save(weights.parameters(model), tmp_path / "weights.safetensors")
        assert len(weights.parameters(model)) > len(model.trainable_variables)
        for variable in weights.parameters(model):
            variable.assign(np.zeros(variable.shape, np.float32))
        weights.load(weights.parameters(model), tmp_path / "weights.safetensors")
        found = values(model)
        assert all(np.array_equal(found[path], kept[path]) for path in kept)
