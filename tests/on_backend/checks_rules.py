"""Optimizers beside AdamW, and schedules: what is the same on every backend."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import recipes
import zoo
from zoo.models import weights
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import moments
from zoo.recipe.optimizers import SGD, Adafactor, Adam, AdamW, Lamb, Lion, Muon
from zoo.recipe.schedules import Constant, Cosine, InverseSqrt, Linear, OneCycle, Polynomial, Schedule
from zoo.recipe.trained_weights import trained_weights
from zoo.training.optimizer import build_optimizer
from zoo.training.schedule import learning_rates


def test_what_each_keeps() -> None:
    """As many numbers as `zoo.check` counts with, under names of their own, which checkpoints tell them by."""
    recipe = recipes.load("imdb_bert_2k", profile="smoke")
    variables = zoo.build(recipe).trainable_variables
    backbone = recipe.model.backbone
    size = Dimensions(
        **{name: getattr(backbone, name) for name in ("num_layers", "num_heads", "hidden_dim", "intermediate_dim")},
        vocabulary_size=variables[0].shape[0],
        max_positions=variables[1].shape[0],
    )
    for config in (AdamW(), Adam(), SGD(), SGD(momentum=0.0), Lion(), Lamb(), Adafactor(), Muon()):
        kept, again = (build_optimizer(config, variables, num_layers=2, rates=[1e-3]).variables for _ in range(2))
        assert len({variable.path for variable in kept}) == len(kept)
        assert [variable.path for variable in again] == [variable.path for variable in kept]
        numbers = sum(math.prod(variable.shape) for variable in kept) - 1  # the step's
        assert numbers == pytest.approx(moments(config, size, trained_weights(recipe.training, size)), rel=0.01, abs=0)


def test_adafactor_leaves_tokens_that_never_came() -> None:
    """A row whose squared gradients are all zero is divided by next to nothing, and stays."""
    import keras

    table = keras.Variable(np.ones((4, 3), np.float32), name="embeddings")
    optimizer = build_optimizer(Adafactor(), [table], num_layers=1, rates=[1e-2])
    gradient = np.zeros((4, 3), np.float32)
    for scale in (1e-3, 1e-12, 1.0):
        gradient[:2] = scale
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [table])
    found = weights.to_numpy(table)
    assert (found[2:] == 1.0).all()
    assert (found[:2] < 1.0).all()


@pytest.mark.parametrize("warmup", [0, 0.25, 7])
def test_schedules_are_those_of_transformers_and_torch(warmup: float) -> None:
    """From the end of warm-up on; one cycle from its first step to its last. Theirs climb from a first step at zero."""
    import torch
    import transformers

    steps = 60
    given = {"num_warmup_steps": 15 if warmup == 0.25 else int(warmup)}
    ended = given | {"num_training_steps": steps}
    cases: list[tuple[Schedule, Callable[..., Any], dict[str, Any]]] = [
        (Linear(warmup=warmup), transformers.get_linear_schedule_with_warmup, ended),
        (Cosine(warmup=warmup), transformers.get_cosine_schedule_with_warmup, ended),
        (Constant(warmup=warmup), transformers.get_constant_schedule_with_warmup, given),
        (InverseSqrt(warmup=warmup), transformers.get_inverse_sqrt_schedule, given),
        (InverseSqrt(warmup=warmup, timescale=40), transformers.get_inverse_sqrt_schedule, given | {"timescale": 40}),
        (
            Polynomial(warmup=warmup, power=3.0, end=0.01),
            transformers.get_polynomial_decay_schedule_with_warmup,
            ended | {"power": 3.0, "lr_end": 0.02},
        ),
    ]
    for schedule, theirs, arguments in cases:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
        found = learning_rates(schedule, peak=2.0, steps=steps)
        expected = rates_of(theirs(optimizer, **arguments), optimizer, steps)
        np.testing.assert_allclose(found[given["num_warmup_steps"] :], expected[given["num_warmup_steps"] :], rtol=1e-9)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        *(optimizer, 2.0, steps),
        pct_start=given["num_warmup_steps"] / steps,
        cycle_momentum=False,
    )
    found = learning_rates(OneCycle(warmup=warmup), peak=2.0, steps=steps)
    np.testing.assert_allclose(found, rates_of(cycle, optimizer, steps), rtol=1e-9)


def rates_of(schedule: Any, optimizer: Any, steps: int) -> list[float]:
    """The rate of each step by a scheduler of torch's."""
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found
