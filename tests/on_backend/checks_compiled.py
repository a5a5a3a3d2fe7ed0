"""What takes an accelerator's way where none is here; a CPU's compiler stands in for an accelerator's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import keras
import numpy as np
import pytest
from jax.sharding import Mesh

import recipes
from zoo.backend import Backend, CompiledProgram, activate, ahead_of_time, compiled_for, kernels
from zoo.backend.compiled_program import Kernels
from zoo.backend.compilers import TARGETS
from zoo.backend.on_jax import Jax
from zoo.data import compilations
from zoo.data.against_catalog import dimensions
from zoo.errors import EnvironmentFault
from zoo.recipe.length import evaluation_rows
from zoo.training import compile_steps
from zoo.training.compile_request import Answer, Request
from zoo.training.prepare import prepare

NOTHING = CompiledProgram(
    arguments=0,
    results=0,
    aliased=0,
    temporaries=0,
    code=0,
    operations=None,
    bytes_accessed=None,
    kernels=Kernels(),
    collectives={},
    compile_seconds=0.0,
)
HERE = replace(TARGETS["v5e"], platform="cpu", machine="H100")


def test_a_named_platform_decides_in_place_of_the_device(backend: Backend) -> None:
    assert isinstance(backend, Jax)
    here = kernels()
    assert (backend.platform(), backend.device(), backend.accelerated) == ("cpu", "cpu", False)
    with compiled_for("tpu"):
        assert (backend.platform(), backend.device(), backend.accelerated) == ("tpu", "tpu", True)
        assert kernels() is not here  # a backend may have others for each platform
        assert kernels() is kernels()
    assert backend.platform() == "cpu"
    assert kernels() is here


def test_what_a_device_elsewhere_does_not_multiply_is_refused() -> None:
    """A TPU has no TF32; of a GPU that is not here it is not known."""
    recipe = recipes.load("imdb_bert_2k", profile="smoke", overrides={"training.precision": "tf32"})
    request = Request(recipe=recipe.model_dump_json(), target="v5e", devices=1, stock=False, folder=None)
    with pytest.raises(EnvironmentFault, match=r"got tf32, expected float32 or bfloat16, .* \(tpu\)"):
        compile_steps.compile_steps(request)
    with compiled_for("gpu"):
        activate().refuse("training.precision", "tf32")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target v5e is this CPU."""
    monkeypatch.setitem(compile_steps.TARGETS, "v5e", HERE)
    monkeypatch.setattr(
        ahead_of_time, "_mesh", lambda target, devices: Mesh(np.array(jax.devices()[:devices]), ("data",))
    )


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that would be compiled, and are not: that takes seconds each."""
    texts: list[str] = []

    def keep(program: Any) -> CompiledProgram:
        texts.append(program.as_text())
        return NOTHING

    monkeypatch.setattr(ahead_of_time, "_compiled", keep)
    return texts


def compile_steps_of(name: str, *, stock: bool = False, **changes: Any) -> Answer:
    recipe = recipes.load(name, profile="smoke", overrides=changes)
    text = recipe.model_dump_json(exclude_unset=True)
    return compile_steps.compile_steps(Request(recipe=text, target="v5e", devices=1, stock=stock, folder=None))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training.packing": True, "training.r_drop": {}, "training.mixup": {}},
        {"training.accumulate": 2, "training.remat": True, "training.adversarial": {}},
    ],
)
def test_shapes_alone_give_the_program_that_a_run_computes(changes: dict[str, Any], lowered: list[str]) -> None:
    answer = compile_steps_of("imdb_bert", **changes)
    recipe = recipes.load("imdb_bert", profile="smoke", overrides=changes)
    session = prepare(recipe)
    rates = session.rates()
    assert answer.steps == len(rates)
    rows, length = answer.training.rows, answer.training.length
    labels, weights = next(session.epoch_batches(0)).labels, np.zeros(rows, np.float32)
    ahead_of_time.compile_training(
        session.trained,
        session.optimizer(rates),
        session.objective.loss,
        inputs=compile_steps._inputs(session.trained, rows, length, None, session.adversary),
        labels=labels,
        weights=weights,
        precision=answer.precision,
        accumulate=recipe.training.least_parts,
        adversary=session.adversary,
        target=HERE,
        devices=1,
    )
    inputs = compile_steps._inputs(session.model, answer.prediction.rows, length, None)
    ahead_of_time.compile_prediction(session.model, inputs=inputs, precision=answer.precision, target=HERE, devices=1)
    training, prediction, whole_training, whole_prediction = lowered
    assert training == whole_training
    assert prediction == whole_prediction
    assert training != prediction


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["sst2_roberta", "imdb_distilbert", "goemotions_bert", "amazon_stars_bert"])
def test_each_family_and_each_task(name: str, lowered: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside keras-hub's own classifier, which is another program; and no weight is drawn for either."""

    def drawn(*_: Any) -> None:
        raise AssertionError("a weight was made")

    monkeypatch.setattr(keras.Variable, "_initialize_with_initializer", drawn)
    compile_steps_of(name, stock=True, **{"model.backbone.num_layers": 1})
    training, prediction, stock_training, stock_prediction = lowered
    assert len({training, prediction, stock_training, stock_prediction}) == 4
    recipe = recipes.load(name, profile="smoke")
    ids = "tensor<{}x{}xi32>"
    for rows, texts in (
        (recipe.training.batch_size, (training, stock_training)),
        (evaluation_rows(recipe.training), (prediction, stock_prediction)),
    ):
        assert all(ids.format(rows, recipe.tokens.max_length) in text for text in texts)


@pytest.mark.usefixtures("here")
def test_the_step_is_kept_for_the_check() -> None:
    answer = compile_steps_of("imdb_bert")
    training, prediction = answer.training.own, answer.prediction.own
    assert isinstance(training, CompiledProgram)
    assert isinstance(prediction, CompiledProgram)
    for step, program in ((answer.training, training), (answer.prediction, prediction)):
        assert program.operations is not None
        # The products are counted without the head's, and of a nano model other work is as much.
        assert step.products < program.operations < 40 * step.products
        assert program.memory > program.temporaries > 0
    assert training.aliased > 0.9 * training.results  # the new state takes the old one's place
    recipe = recipes.load("imdb_bert", profile="smoke")
    size = dimensions(recipe.model.backbone)
    assert size is not None
    assert compilations.kept(compilations.step_of(recipe, size, HERE.machine, answer.precision)) == training


@pytest.mark.usefixtures("here")
def test_what_does_not_fit_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(program: Any) -> CompiledProgram:
        raise RuntimeError("RESOURCE_EXHAUSTED: Used 21.7G of 15.75G hbm.\nAllocations: ...")

    monkeypatch.setattr(ahead_of_time, "_compiled", full)
    assert compile_steps_of("imdb_bert").training.own == "RESOURCE_EXHAUSTED: Used 21.7G of 15.75G hbm."
