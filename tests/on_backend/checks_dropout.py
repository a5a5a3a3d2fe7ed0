"""Portable dropout on the backend of this process: its bits, its statistics, where it stands in a model."""

from __future__ import annotations

import contextlib
import pkgutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from nano import nano_recipe, tiny_config

import zoo
from tools.comparisons.measured import numpy_mask
from zoo.models import inference
from zoo.models.encoder import assemble

pytestmark = pytest.mark.usefixtures("backend")


def mask(seed: int = 7, step: int = 0, shape: tuple[int, ...] = (64, 12, 48), rate: float = 0.1) -> np.ndarray:
    from keras import ops

    from zoo.backend import kernels

    return inference.to_host(kernels().keep_mask(ops.convert_to_tensor(np.array([seed, step])), shape, rate))


class TestMask:
    @pytest.mark.parametrize("shape", [(5,), (3, 1), (1, 7), (2, 3, 17, 17)])
    @pytest.mark.parametrize("state", [(1, 0), (10**9, 1), (5, 2**20)])
    def test_bits_are_those_of_numpy(self, shape: tuple[int, ...], state: tuple[int, int]) -> None:
        for rate in (0.1, 0.5, 0.9):
            ours = mask(*state, shape=shape, rate=rate)
            np.testing.assert_array_equal(ours, numpy_mask(np.array(state), shape, rate))

    def test_golden(self) -> None:
        """Runs of last year go on as they were."""
        found = np.flatnonzero(~mask(seed=123, step=4, shape=(2, 32), rate=0.2)).tolist()
        assert found == GOLDEN

    @pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
    def test_share(self, rate: float) -> None:
        kept = mask(rate=rate, shape=(256, 1024))
        deviation = np.sqrt(rate * (1 - rate) / kept.size)
        assert abs(kept.mean() - (1 - rate)) < 5 * deviation
        for axis in (0, 1):  # and in no row or column is it another
            lines = kept.mean(axis=axis)
            spread = np.sqrt(rate * (1 - rate) / kept.shape[axis])
            assert lines.std() == pytest.approx(spread, rel=0.15)

    def test_positions_know_nothing_of_each_other(self) -> None:
        """Neighbours, corners of a rectangle, the same position at the next step or of another seed."""
        kept = mask(shape=(1024, 1024), rate=0.5)
        signs = np.where(kept, 1.0, -1.0)
        pairs = {
            "columns": signs[:, :-1] * signs[:, 1:],
            "rows": signs[:-1] * signs[1:],
            "corners": signs[:-1, :-1] * signs[1:, :-1] * signs[:-1, 1:] * signs[1:, 1:],
            "far corners": signs[:-300, :-200] * signs[300:, :-200] * signs[:-300, 200:] * signs[300:, 200:],
            "steps": signs * np.where(mask(step=1, shape=kept.shape, rate=0.5), 1.0, -1.0),
            "seeds": signs * np.where(mask(seed=8, shape=kept.shape, rate=0.5), 1.0, -1.0),
            "transposed": signs * signs.T,
        }
        for name, products in pairs.items():
            assert abs(products.mean()) < 5 / np.sqrt(products.size), name


GOLDEN = [14, 18, 38, 46, 55, 63]
"""Positions of the 64 that are dropped."""


def dropout_layers(model: Any) -> list[Any]:
    import keras

    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]


class TestLayer:
    def test_every_dropout_of_a_model(self) -> None:
        from zoo.models.dropout import PortableDropout

        portable, native = (
            dropout_layers(zoo.build(nano_recipe({"training.dropout_masks": kind}))) for kind in ("portable", "native")
        )
        # Embeddings, attention's weights, attention's and feed-forward's output, head.
        assert len(portable) == len(native) == 5
        assert {type(layer) for layer in portable} == {PortableDropout}
        assert PortableDropout not in {type(layer) for layer in native}

    def test_where_a_family_has_none(self) -> None:
        """DistilBERT drops nothing of what attention puts out; keras-hub's does."""
        for family, rates in (("bert", [0.1, 0.1, 0.1]), ("roberta", [0.1, 0.1, 0.1]), ("distilbert", [0.1, 0.0, 0.1])):
            backbone = assemble(tiny_config(family), dtype="float32")
            (layer,) = backbone.transformer_layers
            output = layer.self_attention_output_dropout
            found = [layer.self_attention.dropout.rate, output.rate, layer.feedforward_output_dropout.rate]
            assert found == rates

    def test_scaled_counted_and_off_in_prediction(self) -> None:
        from keras import ops

        model = zoo.build(nano_recipe({"training.dropout_masks": "portable"}))
        layer = next(layer for layer in dropout_layers(model) if layer.name == "embeddings_dropout")
        ones = np.ones((3, 5, 8), np.float32)
        state = inference.to_host(layer.seed_generator.state.value).copy()
        for step in range(2):
            found = inference.to_host(layer(ops.convert_to_tensor(ones), training=True))
            kept = numpy_mask(np.array([state[0], state[1] + step]), ones.shape, 0.1)
            np.testing.assert_allclose(found, kept / 0.9, rtol=1e-6)
        np.testing.assert_array_equal(inference.to_host(layer(ops.convert_to_tensor(ones), training=False)), ones)
        np.testing.assert_array_equal(inference.to_host(layer.seed_generator.state.value), [state[0], 2])

    def test_bfloat16_stays(self) -> None:
        import keras
        from keras import ops

        from zoo.models.dropout import PortableDropout

        layer = PortableDropout(0.1, dtype="bfloat16", seed=1)
        found = layer(ops.ones((2, 4), dtype="bfloat16"), training=True)
        assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"


class TestFusedAttention:
    """Keras uses the fused form where a layer's rate is 0, and has one rate for training and prediction."""

    @pytest.mark.parametrize(
        ("rate", "training", "fused"), [(0.1, False, True), (0.1, True, False), (0.0, True, True), (0.0, False, True)]
    )
    def test_where_nothing_is_dropped(
        self, backend: Any, rate: float, training: bool, fused: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from keras import ops

        name = "keras.ops.dot_product_attention"
        if backend.name == "torch":
            fused = not training  # on a CPU the backward of torch's fused form is the slower one
            name = "torch.nn.functional.scaled_dot_product_attention"
        own = pkgutil.resolve_name(name)
        asked: list[bool] = []

        def asking(*arguments: Any, **named: Any) -> Any:
            asked.append(True)
            return own(*arguments, **named)

        monkeypatch.setattr(name, asking)
        backbone = assemble(replace(tiny_config("bert"), attention_dropout=rate, max_positions=64), dtype="float32")
        asked.clear()
        inputs = {name: ops.ones((2, 64), dtype="int32") for name in inference.input_names(backbone)}
        with contextlib.nullcontext() if training else without_gradients(backend):
            backbone(inputs, training=training)
        assert bool(asked) == fused


def without_gradients(backend: Any) -> Any:
    """As predictions are computed; only torch asks."""
    if backend.name != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()
