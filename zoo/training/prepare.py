"""From a recipe to a session that can train: said once, for runs, `zoo.build`, benchmarks and tests.

In come a recipe and, where they have been read, its rows; out comes a `Session`: tokens, blueprint and model put
together, or the model alone. Refused: what data, vocabulary and weights refuse, and what does not fit together.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from zoo.backend import Backend, activate, by_own_rows
from zoo.data.backbones import bring
from zoo.data.dataset import Dataset, load_dataset
from zoo.data.masking import mask_of
from zoo.data.parts import Parts, load_parts
from zoo.data.token_cache import encode_splits
from zoo.data.tokens import doubts
from zoo.data.trials import Trial, Trials
from zoo.errors import RecipeError
from zoo.models.blueprint import Blueprint
from zoo.models.builder import build_model, plan
from zoo.models.divided import dividing, whole_told
from zoo.recipe import Recipe
from zoo.recipe.estimate import Precision
from zoo.recipe.sharing import beyond_own_rows
from zoo.tasks import Task
from zoo.training.session import Session
from zoo.training.teacher import find_teacher
from zoo.training.trained import Trained
from zoo.training.trial import Compile, quicker_compiled, quicker_precision
from zoo.training.waiting import Tell, waiting

__all__ = ["Built", "activated", "build", "prepare"]

NONE = Trials()

Stage = Callable[[str], AbstractContextManager[Callable[[int], None] | None]]
"""Entered with `tokenize` and with `build` around what these are; gives what is told how many more rows are done."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """A model with the blueprint it was assembled by; trial: what was measured to choose the precision, if it was;
    trained: which of its weights are trained, those of the first epoch marked."""

    blueprint: Blueprint
    model: Any
    precision: Precision
    trial: Trial[Precision] | None
    trained: Trained


def activated(recipe: Recipe) -> Backend:
    """The recipe's backend; EnvironmentFault where its device does not compute as the recipe says, RecipeError where
    several that see their own rows cannot."""
    backend = activate(recipe.backend)
    backend.refuse("training.precision", recipe.training.precision)
    backend.refuse_compile(recipe.training.compile)
    backend.refuse_devices(recipe.training.devices)
    backend.refuse_model_parallel(recipe.training.model_parallel)
    if by_own_rows(backend.name) and (faults := beyond_own_rows(recipe)):
        raise RecipeError(faults)
    return backend


def build(
    recipe: Recipe, task: Task, parts: Parts, backend: Backend, wait: Tell | None = None, begun: Trials = NONE
) -> Built:
    """The recipe's model for this task, with the preset's weights and what the seed draws.

    `wait` is told of a trial while it goes on; what was measured when the run was `begun` is not measured again.
    """
    blueprint = plan(recipe, preset=parts.preset, tokenizer=parts.tokenizer, task=task)
    with waiting("trying how this device multiplies quickest", wait):
        precision, trial = _precision(recipe, blueprint, backend, begun.precision)
    with dividing(backend, recipe.training):
        model = build_model(
            blueprint,
            preset=parts.preset,
            seed=recipe.seed,
            precision=precision,
            dropout_masks=recipe.training.dropout_masks,
            remat=recipe.training.remat,
            lora=recipe.training.lora,
            reinitialize=recipe.model.backbone.reinitialize,
        )
    trained = Trained.of(recipe.training, model, blueprint.backbone.num_layers)
    trained.mark(model, 0)
    return Built(blueprint=blueprint, model=model, precision=precision, trial=trial, trained=trained)


def prepare(
    recipe: Recipe,
    dataset: Dataset | None = None,
    *,
    backend: Backend | None = None,
    stage: Stage = lambda name: nullcontext(),
    tell: Callable[[str], None] | None = None,
    wait: Tell | None = None,
    begun: Trials = NONE,
) -> Session:
    """The session of a recipe.

    Args:
        recipe: what to train.
        dataset: its rows; None fetches what is missing and reads them.
        backend: the active one, see `activated`; None activates the recipe's.
        stage: see `Stage`.
        tell: called with what there is to say of the tokens, and of weights that devices do not share.
        wait: told of trials while they go on.
        begun: what was measured when the run was begun that is gone on with: it goes on in the same way.
    """
    if dataset is None:
        bring(recipe)
        dataset = load_dataset(recipe)
    backend = backend or activated(recipe)
    parts, teacher = load_parts(recipe), find_teacher(recipe, dataset.task)
    if recipe.data.augment is not None and recipe.data.augment.mask:
        mask_of(parts.tokenizer)  # refuses a vocabulary that would cut what stands in texts for a hidden word
    with stage("tokenize") as progress:
        tables = encode_splits(parts.tokenizer, dataset, recipe.tokens, progress=progress, tell=tell)
    if tell is not None:
        for doubt in doubts(parts.tokenizer, tables):
            tell(doubt)
    with stage("build"):
        built = build(recipe, dataset.task, parts, backend, wait, begun)
        with waiting("trying whether a step is quicker compiled", wait):
            compiled, compile_trial = _compiled(recipe, built, backend, begun.compiled)
    if tell is not None and (whole := whole_told(built.model.variables, recipe.training.model_parallel)):
        tell(whole)
    return Session(
        recipe=recipe,
        backend=backend,
        task=dataset.task,
        blueprint=built.blueprint,
        model=built.model,
        tokenizer=parts.tokenizer,
        tables=tables,
        splits={name: getattr(dataset, name) for name in tables},
        precision=built.precision,
        trial=built.trial,
        compiled=compiled,
        compile_trial=compile_trial,
        teacher=teacher,
        parts=built.trained,
    )


def _compiled(
    recipe: Recipe, built: Built, backend: Backend, begun: Trial[Compile] | None
) -> tuple[bool, Trial[Compile] | None]:
    """Whether a step is compiled, as the recipe says or for `auto` as is quicker here, with what was measured."""
    if recipe.training.compile != "auto":
        return recipe.training.compile == "on", None
    rows, length = recipe.training.batch_size, recipe.tokens.max_length
    trial = begun or quicker_compiled(
        built.blueprint.backbone, backend, rows=rows, length=length, precision=built.precision
    )
    return (backend.compiles()[0] if trial is None else trial.chosen == "on"), trial


def _precision(
    recipe: Recipe, blueprint: Blueprint, backend: Backend, begun: Trial[Precision] | None
) -> tuple[Precision, Trial[Precision] | None]:
    """What the recipe asks for; for `auto` the quickest one in training here, and what was measured, if anything."""
    asked = recipe.training.precision
    if asked != "auto":
        return asked, None
    rows, length = recipe.training.batch_size, recipe.tokens.max_length
    trial = begun or quicker_precision(blueprint.backbone, backend, rows=rows, length=length, work="train")
    return ("float32" if trial is None else trial.chosen), trial
