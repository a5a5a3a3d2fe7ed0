"""A recipe's steps compiled for a device that is not here: the process that `zoo.training.compile_request` starts.

    python -m zoo.training.compile_steps < REQUEST > REPLY     # both JSON; progress goes to stderr

In comes a recipe; its model gets shapes alone, so that no weight is made and no preset fetched. Out go what the
compiler says of the step that trains it, of a batch of prediction, and where it is asked for, of the same steps of
keras-hub's own classifier under Keras's AdamW. The training step is kept in the cache, for `zoo.check`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.backend import Adversary, Backend, CompiledProgram, Loss, activate, compiled_for, own_process
from zoo.backend.compilers import TARGETS, Target, reach
from zoo.data.against_catalog import dimensions, training_rows
from zoo.data.backbones import missing
from zoo.data.compilations import keep, step_of
from zoo.data.dataset import load_dataset, missing_data, rows_an_epoch, stated_task
from zoo.data.masking import PLACES
from zoo.data.masking import TARGETS as TARGETS_OF_PLACES
from zoo.data.parts import load_parts
from zoo.errors import OutputError, RecipeError, ZooError
from zoo.models.blueprint import Blueprint
from zoo.models.builder import POLICIES, assemble_model, outline, plan
from zoo.models.in_training import in_training
from zoo.models.places import judged
from zoo.models.weights import SEQUENCE
from zoo.recipe import Recipe
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import Precision
from zoo.recipe.heads import MaskedHead
from zoo.recipe.length import evaluation_rows, run_length
from zoo.recipe.trained_group import Lora
from zoo.recipe.trained_weights import step_flops
from zoo.tasks import Task
from zoo.tasks.mixed import Mixed, robust
from zoo.tasks.objective import objective
from zoo.training.adversarial import adversary_of
from zoo.training.compile_request import REPLY, REQUEST, Answer, Refusal, Request, Step
from zoo.training.optimizer import unbuilt_optimizer
from zoo.training.schedule import learning_rates
from zoo.training.trained import Trained
from zoo.training.waiting import waiting

HEARTBEAT = 30.0
"""Seconds between two lines of progress while the compiler is at work."""

Compiled = CompiledProgram | str
"""What the compiler says of a program, or why it refuses it."""


def main() -> int:
    """Answer the request on stdin; the exit code."""
    own_process()
    request = REQUEST.validate_json(sys.stdin.buffer.read())
    reach(None if request.folder is None else Path(request.folder))
    reply: Answer | Refusal
    try:
        reply = compile_steps(request)
    except ZooError as error:
        reply = Refusal(exit_code=error.exit_code, faults=error.faults)
    print(REPLY.dump_json(reply).decode())
    return 0


def compile_steps(request: Request) -> Answer:
    """The answer to a request; raises what data and backbone refuse."""
    recipe, target = Recipe.model_validate_json(request.recipe), TARGETS[request.target]
    asked = recipe.training.precision
    if request.stock and recipe.model.head.program != SEQUENCE:
        raise RecipeError(
            f"--stock: keras-hub's classifier has one answer a text, and task: {recipe.task} has others: leave it out"
        )
    task, rows = _learned(recipe)
    with compiled_for(target.platform):
        backend = activate("jax")
        backend.refuse("training.precision", asked)
        work = _Work(
            recipe=recipe,
            task=task,
            blueprint=_blueprint(recipe, task),
            precision="bfloat16" if asked == "auto" else asked,  # what a trial finds on these devices
            steps=run_length(recipe.training, rows=rows).steps,
            target=target,
            devices=request.devices,
            backend=backend,
        )
        training, prediction = work.training(), work.prediction()
        _keep(work, training)
        stock = (work.stock_training(), work.stock_prediction()) if request.stock else (None, None)
    size, length = work.size, work.length
    each = [
        Step(rows=rows, length=length, products=rows * length * per_token, own=own, stock=beside)
        for rows, per_token, own, beside in (
            (work.rows, step_flops(recipe.training, size, length), training, stock[0]),
            (work.evaluation_rows, size.flops_per_token(length) // 3, prediction, stock[1]),  # forward alone is a third
        )
    ]
    return Answer(precision=work.precision, training=each[0], prediction=each[1], steps=work.steps)


def _learned(recipe: Recipe) -> tuple[Task, int]:
    """The task and the number of rows to train on: as the catalog states them, else as they are read."""
    task, rows = stated_task(recipe), training_rows(recipe)
    if task is not None and rows is not None and recipe.training.resample is None:
        return task, rows
    data = load_dataset(recipe)
    return data.task, rows_an_epoch(data.train, recipe)


def _blueprint(recipe: Recipe, task: Task) -> Blueprint:
    """From the preset's configuration where that is in the cache, else from the sizes on its card."""
    if missing(recipe) == missing_data(recipe):
        parts = load_parts(recipe)
        return plan(recipe, preset=parts.preset, tokenizer=parts.tokenizer, task=task)
    size = dimensions(recipe.model.backbone)
    if size is None:
        raise RecipeError(
            f"model.backbone.preset: got {recipe.model.backbone.preset}, whose sizes stand in its configuration, "
            "expected one that is in the cache or in the catalog: python -m zoo.fetch brings it"
        )
    return outline(recipe, size, task)


def _keep(work: _Work, training: Compiled) -> None:
    """Keep the training step where `zoo.check` looks for it, which asks for one device."""
    size = dimensions(work.recipe.model.backbone)
    if size is not None and work.devices == 1 and isinstance(training, CompiledProgram):
        with contextlib.suppress(OSError, OutputError):  # in a cache that cannot be written it is not kept
            keep(step_of(work.recipe, size, work.target.machine, work.precision), training)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A recipe's steps, each compiled when it is called for."""

    recipe: Recipe
    task: Task
    blueprint: Blueprint
    precision: Precision
    steps: int
    target: Target
    devices: int
    backend: Backend

    @property
    def rows(self) -> int:
        return self.recipe.training.batch_size

    @property
    def evaluation_rows(self) -> int:
        return evaluation_rows(self.recipe.training)

    @property
    def length(self) -> int:
        return self.recipe.tokens.max_length

    @property
    def places(self) -> int | None:
        """Hidden tokens of a row; None where none are hidden."""
        head = self.recipe.model.head
        return head.places(self.length) if isinstance(head, MaskedHead) else None

    @property
    def size(self) -> Dimensions:
        return Dimensions.of(self.blueprint.backbone)

    def training(self) -> Compiled:
        """The step that a run takes; with packing as if each text filled its row."""
        config = self.recipe.training
        rates = learning_rates(config.schedule, peak=config.optimizer.learning_rate, steps=self.steps)

        def build() -> Any:
            model = self._model(config.lora)
            Trained.of(config, model, self.blueprint.backbone.num_layers).mark(model, 0)
            return in_training(model, config, self.blueprint.head)

        def optimizer(variables: list[Any]) -> Any:
            layers = self.blueprint.backbone.num_layers
            return unbuilt_optimizer(config.optimizer, variables, num_layers=layers, rates=rates)

        # Weights of rows are input; those of words and flags, which are a product more, are not known without rows.
        learned = robust(self.task, objective(self.task, config.loss, None), config, self.task.target)
        adversary = adversary_of(config, self.blueprint.backbone.hidden_dim)
        return self._trained(
            *("training", build, optimizer, learned.loss),
            target=learned.target if isinstance(learned, Mixed) else self.task.target,
            accumulate=config.least_parts,
            adversary=adversary,
        )

    def prediction(self) -> Compiled:
        """A batch of evaluation, which a masked language model judges itself."""
        masked = self.places is not None
        return self._predicted("prediction", lambda: judged(self._model()) if masked else self._model())

    def stock_training(self) -> Compiled:
        """keras-hub's classifier and Keras's AdamW in the same step."""
        from keras import ops, optimizers

        config = self.recipe.training.optimizer

        def optimizer(variables: list[Any]) -> Any:
            return optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay)

        def loss(outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
            return self.task.loss(ops.cast(outputs, "float32"), targets, weights)

        return self._trained("keras-hub's training", self._stock, optimizer, loss, target=self.task.target)

    def stock_prediction(self) -> Compiled:
        """A batch of evaluation by keras-hub's classifier."""
        return self._predicted("keras-hub's prediction", self._stock)

    def _model(self, lora: Lora | None = None) -> Any:
        config = self.recipe.training
        return assemble_model(
            self.blueprint,
            precision=self.precision,
            masks=config.dropout_masks,
            seed=self.recipe.seed,
            remat=config.remat,
            lora=lora,
        )

    def _stock(self) -> Any:
        from zoo.models.encoder import keras_hub_classifier  # it imports Keras

        config, rate = self.blueprint.backbone, self.blueprint.head.dropout or 0.0
        return keras_hub_classifier(config, units=self.blueprint.units, dropout=rate, dtype=POLICIES[self.precision])

    def _trained(
        self,
        name: str,
        build: Callable[[], Any],
        optimizer: Callable[[list[Any]], Any],
        loss: Loss,
        *,
        target: np.ndarray,
        accumulate: int = 1,
        adversary: Adversary | None = None,
    ) -> Compiled:
        import keras

        from zoo.backend.ahead_of_time import compile_training

        with _shapes_alone():
            model = build()
        made = optimizer(model.trainable_variables)  # it counts its steps, and has a number to begin with
        inner = {"text": target.shape, "token": (self.length,), "place": (self.places,)}[self.task.each]
        shape = (self.rows, *inner)
        with _shapes_alone():
            made.build(model.trainable_variables)
            return self._compiled(
                name,
                lambda: compile_training(
                    model,
                    made,
                    loss,
                    inputs=_inputs(model, self.rows, self.length, self.places, adversary),
                    labels=keras.KerasTensor(shape, str(target.dtype)),
                    weights=keras.KerasTensor((self.rows,), "float32"),
                    precision=self.precision,
                    accumulate=accumulate,
                    adversary=adversary,
                    target=self.target,
                    devices=self.devices,
                ),
            )

    def _predicted(self, name: str, build: Callable[[], Any]) -> Compiled:
        from zoo.backend.ahead_of_time import compile_prediction

        with _shapes_alone():
            model = build()
            inputs = _inputs(model, self.evaluation_rows, self.length, self.places)
            return self._compiled(
                name,
                lambda: compile_prediction(
                    model, inputs=inputs, precision=self.precision, target=self.target, devices=self.devices
                ),
            )

    def _compiled(self, name: str, compile_it: Callable[[], CompiledProgram]) -> Compiled:
        with _progress(f"{name}, for {self.target.machine}"):
            try:
                return compile_it()
            except Exception as error:
                if not self.backend.is_out_of_memory(error):
                    raise
                return str(error).strip().splitlines()[0]


def _inputs(
    model: Any, rows: int, length: int, places: int | None, adversary: Adversary | None = None
) -> dict[str, Any]:
    """A batch of full rows, by shape; of a model of packed rows a text a row. What an adversary moves is no part of
    it."""
    import keras

    def shape(tensor: Any) -> tuple[int | None, ...]:
        return (rows, places if tensor.name in (PLACES, TARGETS_OF_PLACES) else length)[: len(tensor.shape)]

    moved = None if adversary is None else adversary.moves
    return {
        tensor.name: keras.KerasTensor(shape(tensor), tensor.dtype) for tensor in model.inputs if tensor.name != moved
    }


@contextlib.contextmanager
def _shapes_alone() -> Iterator[None]:
    """Variables that are made within have a shape and no value; with them one can only trace, and only within."""
    import keras

    with keras.StatelessScope(initialize_variables=False):
        yield


@contextlib.contextmanager
def _progress(what: str) -> Iterator[None]:
    """Say on stderr that it begins, that it goes on, and that it is done."""
    begun = time.perf_counter()

    def tell(how: str) -> None:
        print(f"{what}: {how}", file=sys.stderr, flush=True)

    tell("compiling, which may take minutes")
    with waiting("compiling", lambda doing, seconds: tell(f"{doing} for {seconds:.0f} s"), every=HEARTBEAT):
        yield
    tell(f"compiled in {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
