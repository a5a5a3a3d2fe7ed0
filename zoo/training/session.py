"""One training session: all that a recipe's model, tokens and training say, put together.

In come the recipe, its rows and the active backend; out come the trained model, its figures and the
clock. What is written where is the caller's business, through `Checkpoints` and a `Listener`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zoo.backend import Backend, Trainer
from zoo.data.batches import Batch, batches, choose_lengths, evaluation_order, training_order
from zoo.data.coupling import coupled_order
from zoo.data.dataset import Split
from zoo.data.masking import masking_for
from zoo.data.mixing import rows_by_class, rows_of_epoch
from zoo.data.mixup import mixed
from zoo.data.packing import PACKED, balanced_order, packed_batches, row_width
from zoo.data.tokens import Tokenizer, TokenTable
from zoo.data.trials import Trial
from zoo.models import heads, inference
from zoo.models.blueprint import Blueprint
from zoo.models.builder import POLICIES, finished
from zoo.models.divided import dividing
from zoo.models.in_training import in_training
from zoo.models.places import judged
from zoo.recipe import Recipe
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import Precision
from zoo.recipe.heads import ContrastiveHead
from zoo.recipe.length import Length, evaluation_rows, run_length
from zoo.tasks import Joint, Task
from zoo.tasks.class_weights import class_weights
from zoo.tasks.distilled import Distilled
from zoo.tasks.mixed import robust
from zoo.tasks.objective import by_row, objective
from zoo.tasks.twice import Once
from zoo.training.adversarial import adversary_of
from zoo.training.checkpoint import Checkpoints, Progress
from zoo.training.epoch_log import Learned
from zoo.training.fewest_parts import fewest_parts, fits_by_estimate, fits_by_trial
from zoo.training.loop import Listener, Loop
from zoo.training.memory import halved, step_remedy, within_memory
from zoo.training.optimizer import build_optimizer, carry_over
from zoo.training.schedule import learning_rates
from zoo.training.teacher import Teacher, keep, kept
from zoo.training.trained import Trained
from zoo.training.trial import Compile
from zoo.training.waiting import Firsts

SHOWN = {"validation": "validate"}
"""What the evaluation of a split is called, where that is not its name."""
SHAPES = 8
"""Lengths that training batches may have: each is traced once where the backend compiles."""


@dataclass(kw_only=True)
class Session:
    """A model, its tokens and its shapes; `train` once, then ask for `logits`.

    trained is the model that training goes through, see `in_training`; adversary: who moves one of its inputs, or None.
    """

    recipe: Recipe
    backend: Backend
    task: Task
    blueprint: Blueprint
    model: Any
    tokenizer: Tokenizer
    tables: Mapping[str, TokenTable]
    splits: Mapping[str, Split]
    """The rows of each, with their targets as the data has them."""
    precision: Precision
    trial: Trial[Precision] | None
    """What was measured to choose the precision; None where the recipe says which."""
    compiled: bool
    """Whether a training step is compiled as a whole."""
    compile_trial: Trial[Compile] | None
    """What was measured to choose that; None where there was nothing to choose."""
    parts: Trained
    """Which of its weights are trained, and when."""
    teacher: Teacher | None = None
    """What the model learns from beside the labels; None is nobody."""

    def __post_init__(self) -> None:
        every = np.concatenate([table.lengths for table in self.tables.values()])
        saving = inference.COMPILING / (self._length.epochs * self._flops_per_token)
        self.lengths = choose_lengths(every, shapes=SHAPES, saving=saving)
        self.names = inference.input_names(self.model)
        self._masking = masking_for(self.blueprint.head, self.tokenizer)
        self.trained = in_training(self.model, self.recipe.training, self.blueprint.head)
        self.adversary = adversary_of(self.recipe.training, self.blueprint.backbone.hidden_dim)
        train, table = self.splits["train"], self.tables["train"]
        self._targets = self.task.placed(self.task.scaled(train.labels), table, train)
        # A text counts once, however many windows it is seen through.
        whole = self.task.each != "text" or not table.windowed
        self._shares = None if whole else (1.0 / table.windows[table.owners]).astype(np.float32)
        self._weights = self._shares
        self.class_weights = None
        config = self.recipe.training
        if config.class_weights is not None:
            self.class_weights = class_weights(config.class_weights, self.task, train.labels)
            if by_row(self.task):
                self._weigh(self.class_weights[train.labels])
        if train.weights is not None:
            self._weigh(train.weights)
        self._labelled = objective(self.task, config.loss, self.class_weights)
        self.objective = self._robust(self._labelled)
        self._start_to_predict(self.precision)

    @property
    def _told_by(self) -> np.ndarray | None:
        """How much each row counts in what is told of training; None is as much as in its loss."""
        if self._weights is self._shares:
            return None
        return np.ones(len(self.tables["train"]), np.float32) if self._shares is None else self._shares

    def _weigh(self, weights: np.ndarray) -> None:
        """Have each text of train count by its weight, [texts], beside what it counts by already."""
        own = weights[self.tables["train"].owners].astype(np.float32)
        self._weights = own if self._weights is None else own * self._weights

    def train(self, checkpoints: Checkpoints, listener: Listener, *, resume: bool) -> Progress:
        """Fit the model; the kept epoch's weights are in it afterwards."""
        config = self.recipe.training
        size = Dimensions.of(self.blueprint.backbone)
        fits = fits_by_estimate(self.recipe, size, self.precision, self.backend)
        task = self._taught(checkpoints, listener)
        checkpoints = checkpoints.leaving_out(self.parts.left_out(self.model))
        progress, optimizer = Progress(), None
        if resume:
            progress, optimizer, passed = checkpoints.restore(
                self.trained, lambda at: self._optimizer_of(at.epoch if at.within else max(0, at.epoch - 1))
            )
            for line in passed:
                listener.on_note(line)
        progress = replace(progress, parts=self._step_parts(progress, task, fits, listener))
        in_pairs = isinstance(self.recipe.model.head, ContrastiveHead)
        loop = Loop(
            model=self.trained,
            optimizer_of=self._optimizer_of,
            backend=self.backend,
            precision=self.precision,
            compiled=self.compiled,
            adversary=self.adversary,
            task=task,
            config=config,
            monitor=self.recipe.monitor,
            length=self._length,
            rates=self.rates(),
            shares=self._told_by,
            remedy=lambda parts: step_remedy(config, parts, fits, parted=not in_pairs),
            epoch_batches=self.epoch_batches,
            ids=self._ids,
            validate=lambda: self._judged(listener),
            checkpoints=checkpoints,
            listener=listener,
        )
        return loop.run(progress, optimizer)

    def _ids(self, rows: np.ndarray) -> list[str]:
        """Of the texts that these rows of train are of, each once."""
        texts = dict.fromkeys(self.tables["train"].owners[rows].tolist())
        return [self.splits["train"].ids[text] for text in texts]

    def _taught(self, checkpoints: Checkpoints, listener: Listener) -> Learned:
        """What is learned; with a teacher, whose outputs are kept beside the checkpoints, also from that."""
        config = self.recipe.training.distil
        if self.teacher is None or config is None:
            return self.objective
        outputs, fault = kept(checkpoints.folder)
        if fault is not None:
            listener.on_note(f"what the teacher said is damaged, and asked for again: {fault}")
        if outputs is None:
            rows, size = self.splits["train"], evaluation_rows(self.recipe.training)
            remedy = halved("--set training.eval_batch_size=", size, "take a smaller teacher")
            with (
                within_memory(self.backend, f"a batch of {size} rows for the teacher", remedy),
                listener.bar("teacher", len(rows)) as advance,
            ):
                outputs = self.teacher.outputs(rows, backend=self.backend, batch_size=size, progress=advance)
            if checkpoints.writes:
                keep(outputs, checkpoints.folder)
        lesson = Distilled(task=self.task, own=self._labelled, temperature=config.temperature, weight=config.weight)
        self._targets = lesson.joined(self._targets, outputs[self.tables["train"].owners])
        return self._robust(lesson)

    def _robust(self, own: Once) -> Learned:
        """What is learned, from what is learned of one pass over texts as they are."""
        numbers = np.int32 if np.issubdtype(self._targets.dtype, np.integer) else np.float32  # as a batch has them
        blank = np.zeros(self._targets.shape[1:], numbers)
        return robust(self.task, own, self.recipe.training, blank)

    def _step_parts(
        self, progress: Progress, task: Learned, fits: Callable[[int], bool] | None, listener: Listener
    ) -> int:
        """In how many a step is computed: as the recipe says, as the run began, or else as few as fit."""
        config = self.recipe.training
        if config.accumulate != "auto":
            return config.accumulate
        if progress.parts is not None:
            return progress.parts
        how = "by estimate"
        if fits is None:
            fits = fits_by_trial(self.trained, lambda parts: self._tried(task, parts), self._longest(), self.backend)
            how = "by trial"
        parts = fewest_parts(config.batch_size, fits, least=config.least_rows)
        rows = config.batch_size // parts
        way = f"in {parts} parts of {rows} rows, the fewest that fit" if parts > 1 else "as a whole, which fits"
        listener.on_note(f"a step is computed {way} in memory {how}")
        return parts

    def _tried(self, task: Learned, parts: int) -> Trainer:
        """A trainer of the epoch in which most is trained."""
        self.parts.mark(self.model, self._length.epochs - 1)
        return self.trainer(task, parts)

    def _longest(self) -> Batch:
        """A batch of the longest texts."""
        order = evaluation_order(self.tables["train"].lengths, batch_size=self.recipe.training.batch_size)
        return next(self._batches(order[:1], turn=0))

    def _optimizer_of(self, epoch: int, before: Any = None) -> Any:
        """The optimizer of an epoch, whose weights are marked as trained: that of the epoch before, unless these have
        changed; then a new one that has its moments of those that stay."""
        if not self.parts.mark(self.model, epoch) and before is not None:
            return before
        optimizer = self.optimizer(self.rates())
        if before is not None:
            carry_over(before, optimizer)
        return optimizer

    def _judged(self, listener: Listener) -> Mapping[str, float]:
        """Figures of the validation split under the model's present weights."""
        values, targets = self.task.values(self.logits("validation", listener)), self.splits["validation"].labels
        return self.task.tuned(values, targets).figures(values, targets)

    @property
    def _evaluated(self) -> Any:
        """The model that evaluation asks: a masked language model judges itself, as its scores are many."""
        return self.model if self._masking is None else judged(self.model)

    @property
    def _length(self) -> Length:
        rows = len(self.tables["train"]) * self.recipe.repeats if self.drawn is None else int(self.drawn.sum())
        return run_length(self.recipe.training, rows=rows)

    @property
    def drawn(self) -> np.ndarray | None:
        """Rows of each class in an epoch, [classes], where they are drawn; None has every row once."""
        resample = self.recipe.training.resample
        if resample is None:
            return None
        return rows_by_class(np.bincount(self.splits["train"].labels, minlength=len(self.task.names)), resample)

    @property
    def _flops_per_token(self) -> int:
        return Dimensions.of(self.blueprint.backbone).flops_per_token(self.recipe.tokens.max_length)

    def rates(self) -> np.ndarray:
        """The learning rate of each step, [steps]."""
        config = self.recipe.training
        return learning_rates(config.schedule, peak=config.optimizer.learning_rate, steps=self._length.steps)

    def optimizer(self, rates: np.ndarray) -> Any:
        """A fresh optimizer on the model's variables."""
        average = self.recipe.training.average
        return build_optimizer(
            self.recipe.training.optimizer,
            self.trained.trainable_variables,
            num_layers=self.blueprint.backbone.num_layers,
            rates=rates,
            average=average.decay if average is not None and average.type == "ema" else None,
        )

    def trainer(self, learned: Learned | None = None, parts: int | None = None) -> Trainer:
        """Steps as training takes them, with a fresh optimizer.

        Args:
            learned: of what; None is what the recipe says, without a teacher.
            parts: in how many a step is computed; None is as few as the recipe allows.
        """
        return self.backend.trainer(
            self.trained,
            self.optimizer(self.rates()),
            (learned or self.objective).loss,
            precision=self.precision,
            accumulate=parts or self.recipe.training.least_parts,
            compiled=self.compiled,
            adversary=self.adversary,
            devices=self.recipe.training.devices,
        )

    def _chosen(self, epoch: int) -> np.ndarray | None:
        """The rows of an epoch; None is every row once."""
        sampling, resample = self.recipe.sampling, self.recipe.training.resample
        if resample is not None:
            return rows_of_epoch(self.splits["train"].labels, resample, seed=self.recipe.seed, epoch=epoch)
        if sampling is None or sampling.type == "proportional":
            return None
        assert isinstance(self.task, Joint)  # a recipe of one task has no sampling
        return rows_of_epoch(self.task.groups(self._targets), sampling, seed=self.recipe.seed, epoch=epoch)

    def epoch_batches(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """The training batches of an epoch, counted from 0, but for the `done` first, of which nothing is read."""
        table, size = self.tables["train"], self.recipe.training.batch_size
        if self.recipe.training.packing:
            texts = balanced_order(
                table.lengths, batch_size=size, seed=self.recipe.seed, epoch=epoch, chosen=self._chosen(epoch)
            )
            width, names = row_width(table.lengths), (*self.names, *PACKED)
            found = packed_batches(
                table, self._targets, texts[done:], batch_size=size, width=width, names=names, weights=self._weights
            )
            return self._mixed(found, turn=epoch + 1, done=done)
        if isinstance(head := self.recipe.model.head, ContrastiveHead):
            classes, repeats, seed = self.splits["train"].labels, head.repeats, self.recipe.seed
            order = coupled_order(classes, repeats=repeats, batch_size=size, seed=seed, epoch=epoch)
        else:
            order = training_order(
                table.lengths,
                lengths=self.lengths,
                batch_size=size,
                seed=self.recipe.seed,
                epoch=epoch,
                chosen=self._chosen(epoch),
            )
        return self._batches(order[done:], turn=epoch + 1, done=done)

    def _batches(self, order: Sequence[np.ndarray], *, turn: int, done: int = 0) -> Iterator[Batch]:
        """Batches of these rows, whose tokens are hidden by the turn where any are; `done`: how many came before."""
        found = batches(
            self.tables["train"],
            self._targets,
            order,
            batch_size=self.recipe.training.batch_size,
            lengths=self.lengths,
            names=self.names,
            each=self.task.each,
            weights=self._weights,
        )
        if (masking := self._masking) is None:
            return self._mixed(found, turn=turn, done=done)
        return (masking.hidden(batch, seed=self.recipe.seed, turn=turn) for batch in found)

    def _mixed(self, found: Iterator[Batch], *, turn: int, done: int) -> Iterator[Batch]:
        """The batches with pairs of their texts mixed by the turn, where any are; `done`: how many came before."""
        asked = self.recipe.training.mixup
        return found if asked is None else mixed(found, alpha=asked.alpha, seed=self.recipe.seed, turn=turn, done=done)

    def settle(self) -> None:
        """End training: from now on the model is the one that is saved.

        It computes in float32 as that does, and its outputs are in the unit of the data.
        """
        if POLICIES[self.precision] != POLICIES["float32"] or self.recipe.training.lora is not None:
            with dividing(self.backend, self.recipe.training):
                self.model = finished(self.model, self.blueprint)
        if self.task.scale is not None:
            heads.rescale(self.model, *self.task.scale)
            self.task = self.task.unscaled()
        self._start_to_predict("float32")

    def cool(self, temperature: float) -> None:
        """Make the settled model's outputs what they were by this temperature."""
        units = self.task.units
        heads.rescale(self.model, np.full(units, 1.0 / temperature), np.zeros(units))

    def _start_to_predict(self, precision: Precision) -> None:
        devices = self.recipe.training.devices
        self._predict = self.backend.predictor(self._evaluated, precision=precision, devices=devices)
        self._firsts = Firsts(compiles=self.backend.compiles_shapes(False))

    def logits(self, split: str, listener: Listener | None = None) -> np.ndarray:
        """Logits [texts, units] of a split under the model's present weights, of tokens what the task makes of them;
        `listener` is told how far it is."""
        size, table = evaluation_rows(self.recipe.training), self.tables[split]
        remedy = halved("--resume --set training.eval_batch_size=", size, "lower tokens.max_length")
        with (
            within_memory(self.backend, f"a batch of {size} rows of the {split} split", remedy),
            listener.bar(SHOWN.get(split, split), len(table)) if listener else nullcontext() as advance,
        ):
            found = inference.logits(
                self._predict,
                table,
                names=self.names,
                batch_size=size,
                lengths=self.lengths,
                masking=self._masking,
                around=lambda shape: self._firsts.computing(shape, listener.on_wait if listener else None),
                progress=advance,
            )
            return inference.by_text(found, self.task, table, self.splits[split], pool=self.recipe.tokens.pool)
