"""In what precision a step multiplies; one with bfloat16 products takes the same direction as one with float32's."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest
from nano import Interrupting, drawn, nano_recipe, tiny_config

import recipes
import zoo
from zoo import predict
from zoo.backend import Backend, precisions_of_nvidia
from zoo.data.trials import Trial
from zoo.errors import EnvironmentFault
from zoo.finished import Run
from zoo.models import inference, weights
from zoo.recipe.optimizers import AdamW
from zoo.runs import run
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training import prepare
from zoo.training.optimizer import build_optimizer
from zoo.training.trial import quicker_precision


def gradients(backend: Backend, precision: str, seed: int = 1) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients of a step, dropout on: with an epsilon far above them, AdamW's first step is -rate * g."""
    changes = {"training.precision": precision, "seed": seed, "model.backbone.num_layers": 1}
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides=changes))
    config = AdamW(weight_decay=0.0, clip_norm=None, layer_decay=1.0, epsilon=1e4)
    optimizer = build_optimizer(config, model.trainable_variables, num_layers=1, rates=[1e4])
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision=precision)  # type: ignore[arg-type]
    for variable in model.trainable_variables:
        variable.assign(drawn(variable.path, variable.shape, 1) + ("gamma" in variable.path))
    before = {v.path: weights.to_numpy(v).copy() for v in model.trainable_variables}
    inputs = {name: np.ones((16, 12), np.int32) for name in inference.input_names(model)}
    inputs["token_ids"] = np.random.default_rng(0).integers(5, 400, (16, 12)).astype(np.int32)
    loss, _ = trainer.step(inputs, np.arange(16, dtype=np.int32) % 2, np.ones(16, np.float32))
    trainer.commit()
    return float(inference.to_host(loss)), {
        v.path: before[v.path] - weights.to_numpy(v) for v in model.trainable_variables
    }


def test_as_float32(backend: Backend) -> None:
    loss, exact = gradients(backend, "float32")
    rounded_loss, rounded = gradients(backend, "bfloat16")
    assert rounded_loss == pytest.approx(loss, rel=1e-2)
    assert rounded_loss != loss  # it was another precision
    assert far(exact, rounded) == []
    _, other = gradients(backend, "float32", seed=2)  # other masks of dropout
    assert len(far(exact, other)) > len(exact) / 2


def far(exact: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> list[str]:
    """Variables whose gradient is over a twentieth of its norm away; one that is only rounding has no direction."""
    norms = {path: float(np.linalg.norm(gradient)) for path, gradient in exact.items()}
    least = 1e-4 * max(norms.values())
    return [p for p, norm in norms.items() if norm > least and np.linalg.norm(found[p] - exact[p]) > 0.05 * norm]


def test_auto_is_tried_on_this_device(backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both kinds of step are real ones, in training and in prediction."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr("zoo.training.trial.busy", lambda: False)
    for work in ("train", "predict"):
        found = quicker_precision(tiny_config("bert"), backend, rows=2, length=8, work=work)  # type: ignore[arg-type]
        assert found is not None
        assert tuple(found.seconds) == ("float32", "bfloat16")
        assert all(0.0 < seconds < 10.0 for seconds in found.seconds.values())
    assert len(list((tmp_path / "trials").iterdir())) == 2


def test_a_finished_run_predicts_in_the_quicker_precision(
    whole: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured is kept, chooses, and is told; without a trial the precision is the caller's."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert zoo.load_run(whole.path).trial is None
    asked: list[str] = []

    def measured(*arguments: object, work: str, **named: object) -> Trial:
        asked.append(work)
        return Trial(device="cpu", seconds={"float32": 0.02, "bfloat16": 0.01})

    monkeypatch.setattr(run, "quicker_precision", measured)
    quick = zoo.load_run(whole.path, precision="auto")
    assert (quick.precision, asked) == ("bfloat16", ["predict"])
    assert predict.main([str(whole.path), "--text", "good", "--precision", "auto"]) == 0
    assert "bfloat16 (10 ms against 20 in float32" in capsys.readouterr().err
    near = zoo.load_run(whole.path).probabilities(["good film"])
    np.testing.assert_allclose(quick.probabilities(["good film"]), near, atol=0.02)
    assert (quick.probabilities(["good film"]) != near).any()


@pytest.mark.at_times
def test_a_run_goes_on_as_it_was_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another measurement would choose otherwise, and what is gone on with would be another run."""
    seconds = {"float32": 0.02, "bfloat16": 0.01}
    monkeypatch.setattr(prepare, "quicker_precision", lambda *given, **ways: Trial(device="cpu", seconds=dict(seconds)))
    recipe = nano_recipe({"training.precision": "auto", "training.epochs": 2, "data.limit": {"train": 64, "test": 16}})
    with pytest.raises(KeyboardInterrupt):
        zoo.train(recipe, out=tmp_path / "run", progress=Interrupting(2))
    seconds["bfloat16"] = 0.03
    begun = zoo.train(recipe, out=tmp_path / "run", resume=True)
    assert begun.folder.run["precision"] == "bfloat16"
    assert begun.folder.run["precision_trial"] == {"float32": 0.02, "bfloat16": 0.01}


# --- what float32 numbers are multiplied in -----------------------------------------------------

MULTIPLIED = {
    "jax": {"float32": "highest", "tf32": "default", "bfloat16": "default"},
    "tensorflow": {"float32": False, "tf32": True, "bfloat16": False},
    "torch": {"float32": ("ieee", "ieee"), "tf32": ("tf32", "ieee"), "bfloat16": ("ieee", "ieee")},
}
"""What each backend's switch says meanwhile."""
UNLIKE = {"jax": "bfloat16", "tensorflow": True, "torch": ("tf32", "bf16")}
"""What a process may have set it to, none of which is IEEE's float32."""


def switch(backend: Backend) -> Any:
    """What the backend's own switch says now."""
    framework: Any = importlib.import_module(backend.name)
    if backend.name == "jax":
        return framework.config.jax_default_matmul_precision
    if backend.name == "tensorflow":
        return framework.config.experimental.tensor_float_32_execution_enabled()
    return framework.backends.cuda.matmul.fp32_precision, framework.backends.mkldnn.matmul.fp32_precision


def set_switch(backend: Backend, value: Any) -> None:
    framework: Any = importlib.import_module(backend.name)
    if backend.name == "jax":
        framework.config.update("jax_default_matmul_precision", value)
    elif backend.name == "tensorflow":
        framework.config.experimental.enable_tensor_float_32_execution(value)
    else:
        framework.backends.cuda.matmul.fp32_precision, framework.backends.mkldnn.matmul.fp32_precision = value


class Watched(keras.layers.Layer):
    """Passes its input on and notes what the switch says when it is traced, when it runs, and in its gradient."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(name="watched")
        self.backend, self.seen = backend, set[Any]()

    def note(self, *_: Any) -> None:
        self.seen.add(switch(self.backend))

    def call(self, x: Any) -> Any:
        self.note()
        framework: Any = importlib.import_module(self.backend.name)
        if self.backend.name == "torch" and x.requires_grad:
            x.register_hook(self.note)
        if self.backend.name != "tensorflow":
            return x

        @framework.custom_gradient  # type: ignore[untyped-decorator]
        def passed(given: Any) -> tuple[Any, Callable[[Any], Any]]:
            def gradient(by: Any) -> Any:
                return through(by)

            return through(given), gradient

        def through(given: Any) -> Any:
            found = framework.numpy_function(lambda value: (self.note(), value)[1], [given], given.dtype)
            found.set_shape(given.shape)
            return found

        return passed(x)


@pytest.fixture
def unlike(backend: Backend) -> Any:
    """A process that has set its switch to something else."""
    before = switch(backend)
    set_switch(backend, UNLIKE[backend.name])
    yield UNLIKE[backend.name]
    set_switch(backend, before)


def watched(backend: Backend) -> tuple[Any, Watched]:
    given = keras.Input((4,), name="x", dtype="float32")
    layer = Watched(backend)
    return keras.Model({"x": given}, keras.layers.Dense(2)(layer(keras.layers.Dense(3)(given)))), layer


X, LABELS = np.ones((2, 4), np.float32), np.array([0, 1], np.int32)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_step_multiplies_as_it_is_told(
    backend: Backend, unlike: Any, precision: Literal["float32", "tf32", "bfloat16"]
) -> None:
    """Where it is traced, where it runs and in its gradient, whatever the process has set; which is left as it was."""
    model, layer = watched(backend)
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=1, rates=[1e-3] * 2)
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision=precision)
    layer.seen.clear()
    for _ in range(2):
        inference.to_host(trainer.step({"x": X}, LABELS, np.ones(2, np.float32))[0])
    assert layer.seen == {MULTIPLIED[backend.name][precision]}
    assert switch(backend) == unlike


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_prediction_multiplies_as_it_is_told(
    backend: Backend, unlike: Any, precision: Literal["float32", "tf32", "bfloat16"]
) -> None:
    model, layer = watched(backend)
    predict = backend.predictor(model, precision=precision)
    layer.seen.clear()
    for _ in range(2):
        inference.to_host(predict({"x": X}))
    assert layer.seen == {MULTIPLIED[backend.name][precision]}
    assert switch(backend) == unlike


def test_what_is_explained_is_float32(backend: Backend, unlike: Any) -> None:
    model, layer = watched(backend)
    gradient = backend.gradient(model, "x")
    layer.seen.clear()
    inference.to_host(gradient({"x": X}, np.ones((2, 2), np.float32)))
    assert layer.seen == {MULTIPLIED[backend.name]["float32"]}
    assert switch(backend) == unlike


def test_the_switch_is_restored_where_a_step_fails(backend: Backend, unlike: Any) -> None:
    def fails() -> None:
        with backend.multiplying("float32"):
            raise ValueError("out of luck")

    with pytest.raises(ValueError, match="out of luck"):
        fails()
    assert switch(backend) == unlike


def test_a_device_refuses_what_it_does_not_multiply(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, whole: Run
) -> None:
    """A CPU and a T4; before there is a run folder, and before texts are cut."""
    words = (
        r"training.precision: got tf32, expected float32 or bfloat16, .* \(cpu\) .*: set training.precision to float32"
    )
    recipe = recipes.load("imdb_bert_2k", profile="smoke", overrides={"training.precision": "tf32"})
    with pytest.raises(EnvironmentFault, match=words):
        zoo.train(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(EnvironmentFault, match=words):
        zoo.build(recipe)
    with pytest.raises(EnvironmentFault, match="precision: got tf32, expected float32 or bfloat16"):
        zoo.load_run(whole.path, precision="tf32").predict(["good"])
    monkeypatch.setattr(backend, "precisions", lambda: precisions_of_nvidia((7, 5)))
    with pytest.raises(EnvironmentFault, match=r"training.precision: got bfloat16, expected float32, which is all"):
        zoo.build(recipe.override({"training.precision": "bfloat16"}))
    assert zoo.build(recipe.override({"training.precision": "auto"})).dtype_policy.name == "float32"


def test_tf32_where_a_device_has_it(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, whole: Run
) -> None:
    """On a CPU that says that it has it: a run trains, its trial has three figures, and it predicts."""
    monkeypatch.setattr(backend, "precisions", lambda: precisions_of_nvidia((8, 0)))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    changes = {"training.epochs": 1, "training.precision": "tf32"}
    run = zoo.train(recipes.load("imdb_bert_2k", profile="smoke", overrides=changes), out=tmp_path / "run")
    assert run.folder.run["precision"] == "tf32"
    found = zoo.load_run(whole.path, precision="tf32")
    assert found.opened.model is found.model  # explanations are of float32 numbers, as these are
    np.testing.assert_allclose(found.probabilities(["good film"]), whole.probabilities(["good film"]), atol=1e-6)
    trial = quicker_precision(tiny_config("bert"), backend, rows=2, length=8, work="predict")
    assert trial is not None
    assert tuple(trial.seconds) == ("float32", "tf32", "bfloat16")
