"""One training session: all that a recipe's model, tokens and training say, put together.

In come the recipe, its rows and the active backend; out come the trained model, its figures and the
clock. What is written where is the caller's business, through `Checkpoints` and a `Listener`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.backend import Backend
from zoo.data.batches import Batch, batches, choose_lengths, training_order
from zoo.data.packing import balanced_order, packed_batches, row_width
from zoo.data.tokens import Tokenizer, TokenTable
from zoo.data.trials import Trial
from zoo.models import heads, inference, weights
from zoo.models.builder import POLICIES, Blueprint, assemble_model
from zoo.models.packed import packed
from zoo.recipe import Recipe
from zoo.recipe.estimate import Dimensions, Precision
from zoo.recipe.length import Length, evaluation_rows, run_length
from zoo.tasks import Task
from zoo.training.checkpoint import Checkpoints, Progress
from zoo.training.loop import Listener, fit
from zoo.training.memory import halved, within_memory
from zoo.training.optimizer import build_optimizer
from zoo.training.schedule import learning_rates
from zoo.training.trial import Compile
from zoo.training.waiting import Firsts

SHOWN = {"validation": "validate"}
"""What the evaluation of a split is called, where that is not its name."""
SHAPES = 8
"""Lengths that training batches may have: each is traced once where the backend compiles."""


@dataclass(kw_only=True)
class Session:
    """A model, its tokens and its shapes; `train` once, then ask for `logits`.

    trained is the model that training goes through: `model` itself, or with packing another one of the same layers.
    """

    recipe: Recipe
    backend: Backend
    task: Task
    blueprint: Blueprint
    model: Any
    tokenizer: Tokenizer
    tables: Mapping[str, TokenTable]
    labels: Mapping[str, np.ndarray]
    """The targets of each split, as the data has them."""
    precision: Precision
    trial: Trial[Precision] | None
    """What was measured to choose the precision; None where the recipe says which."""
    compiled: bool
    """Whether a training step is compiled as a whole."""
    compile_trial: Trial[Compile] | None
    """What was measured to choose that; None where there was nothing to choose."""

    def __post_init__(self) -> None:
        every = np.concatenate([table.lengths for table in self.tables.values()])
        saving = inference.COMPILING / (self._length.epochs * self._flops_per_token)
        self.lengths = choose_lengths(every, shapes=SHAPES, saving=saving)
        self.names = inference.input_names(self.model)
        self.trained = packed(self.model) if self.recipe.training.packing else self.model
        self._targets = self.task.scaled(self.labels["train"])
        self._start_to_predict(self.precision)

    def train(self, checkpoints: Checkpoints, listener: Listener, *, resume: bool) -> Progress:
        """Fit the model; the kept epoch's weights are in it afterwards."""
        config = self.recipe.training
        rates = self.rates()
        optimizer = self.optimizer(rates)
        progress, passed = checkpoints.restore(self.trained, optimizer) if resume else (None, [])
        for line in passed:
            listener.on_note(line)
        return fit(
            self.trained,
            optimizer,
            backend=self.backend,
            precision=self.precision,
            compiled=self.compiled,
            task=self.task,
            config=config,
            monitor=self.recipe.monitor,
            length=self._length,
            rates=rates,
            epoch_batches=self.epoch_batches,
            validate=lambda: self._judged(listener),
            checkpoints=checkpoints,
            progress=progress,
            listener=listener,
        )

    def _judged(self, listener: Listener) -> Mapping[str, float]:
        """Figures of the validation split under the model's present weights."""
        values, targets = self.task.values(self.logits("validation", listener)), self.labels["validation"]
        return self.task.tuned(values, targets).figures(values, targets)

    @property
    def _length(self) -> Length:
        return run_length(self.recipe.training, rows=len(self.tables["train"]))

    @property
    def _flops_per_token(self) -> int:
        return Dimensions.of(self.blueprint.backbone).flops_per_token(self.recipe.tokens.max_length)

    def rates(self) -> np.ndarray:
        """The learning rate of each step, [steps]."""
        config = self.recipe.training
        return learning_rates(config.schedule, peak=config.optimizer.learning_rate, steps=self._length.steps)

    def optimizer(self, rates: np.ndarray) -> Any:
        """A fresh optimizer on the model's variables."""
        return build_optimizer(
            self.recipe.training.optimizer,
            self.trained.trainable_variables,
            num_layers=self.blueprint.backbone.num_layers,
            rates=rates,
        )

    def epoch_batches(self, epoch: int) -> Iterator[Batch]:
        """The training batches of an epoch, counted from 0."""
        table, size = self.tables["train"], self.recipe.training.batch_size
        if self.recipe.training.packing:
            texts = balanced_order(table.lengths, batch_size=size, seed=self.recipe.seed, epoch=epoch)
            width, names = row_width(table.lengths), inference.input_names(self.trained)
            return packed_batches(table, self._targets, texts, batch_size=size, width=width, names=names)
        order = training_order(table.lengths, lengths=self.lengths, batch_size=size, seed=self.recipe.seed, epoch=epoch)
        return batches(table, self._targets, order, batch_size=size, lengths=self.lengths, names=self.names)

    def settle(self) -> None:
        """End training: from now on the model is the one that is saved.

        It computes in float32 as that does, and its outputs are in the unit of the data.
        """
        if POLICIES[self.precision] != POLICIES["float32"]:
            trained = {variable.path: variable for variable in weights.parameters(self.model)}
            self.model = assemble_model(self.blueprint, precision="float32")
            for variable in weights.parameters(self.model):
                variable.assign(trained[variable.path].value)
        if self.task.scale is not None:
            heads.rescale(self.model, *self.task.scale)
            self.task = self.task.unscaled()
        self._start_to_predict("float32")

    def _start_to_predict(self, precision: Precision) -> None:
        self._predict = self.backend.predictor(self.model, precision=precision)
        self._firsts = Firsts(compiles=self.backend.compiles_shapes(False))

    def logits(self, split: str, listener: Listener | None = None) -> np.ndarray:
        """Logits [rows, units] of a split under the model's present weights; `listener` is told how far it is."""
        size, table = evaluation_rows(self.recipe.training), self.tables[split]
        remedy = halved("--resume --set training.eval_batch_size=", size, "lower tokens.max_length")
        with (
            within_memory(self.backend, f"a batch of {size} rows of the {split} split", remedy),
            listener.bar(SHOWN.get(split, split), len(table)) if listener else nullcontext() as advance,
        ):
            return inference.logits(
                self._predict,
                table,
                names=self.names,
                batch_size=size,
                lengths=self.lengths,
                around=lambda shape: self._firsts.computing(shape, listener.on_wait if listener else None),
                progress=advance,
            )
