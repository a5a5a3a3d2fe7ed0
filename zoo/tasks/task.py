"""What every task is to those who read its labels, train, judge and show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import RecipeError
from zoo.score.metrics import majority_share
from zoo.tasks.material import Rows, Stated, Tagging, Tokenized, no_label
from zoo.tasks.prediction import Prediction
from zoo.tasks.refused import Where, by_number
from zoo.tasks.shown_task import Rankings, Shown

__all__ = ["Rankings", "Task"]

Floats = NDArray[np.float64]

ANSWERING = ("predict", "explain", "serve", "export")
"""Verbs that need an answer for a text."""
COUNTED = "counted"
"""Among the hits of a task: by what they are divided."""


@dataclass(frozen=True, kw_only=True)
class Task(Shown):
    """What a model learns; a value, changed by `learned` and `tuned` into another.

    names are those of the targets: of classes by their number, or of numbers; none before the rows are read.
    """

    type: str
    """As a recipe names the task."""
    names: tuple[str, ...] = ()
    threshold: float | tuple[float, ...] | None = None
    """From which value a row counts as class 1, or each class as given; None where the task has no such thing."""
    falling: ClassVar[frozenset[str]] = frozenset({"loss"})
    """Figures of which less is better."""
    least: ClassVar[int] = 0
    """Rows of each stratum that have to be in every split and under every limit."""
    quantity: ClassVar[str] = "probability"
    """What a value is."""
    pipeline: ClassVar[str] = "text-classification"
    """What hubs and transformers' pipelines call it."""
    example: ClassVar[str] = "..."
    """What stands for a text in examples of its use."""
    piped: ClassVar[bool] = True
    """Whether transformers 5 has such a pipeline."""
    each: ClassVar[Literal["text", "token", "place"]] = "text"
    """What has an output: a text, every token, or the places of a text at which tokens were hidden."""
    options: ClassVar[str | None] = None
    """What `zoo.predict` takes for a row of it, where that is not a text or a pair."""
    served_by: ClassVar[Mapping[str, str]] = {}
    """Verbs that have no answer for it -> the verb that has one."""
    answers: ClassVar[bool] = True
    """Whether a finished model has an answer for a text; else it is what another run begins with."""
    worded: ClassVar[bool] = False
    """Whether a text has a label for each word."""
    spanned: ClassVar[bool] = False
    """Whether it is needed where tokens stand in their texts."""
    pair: ClassVar[tuple[str, str]] = ("text", "pair")
    """What people call the two texts of a row that has two."""
    exclusive: ClassVar[bool | None] = None
    """Of labels that are classes, whether a text has just one; None where they are something else."""
    watched: ClassVar[bool] = True
    """Whether the outputs of training are looked at, for `hits`."""

    # --- from rows to targets

    @classmethod
    def of(cls, head: Any) -> Self:
        """The task of a recipe's head, before the rows are read."""
        raise NotImplementedError

    def refuse(self, verb: str) -> None:
        """Raise RecipeError where a verb has no answer for this task."""
        if not self.answers and verb in ANSWERING:
            raise RecipeError(
                f"zoo.{verb}: got a run of task: {self.type}, expected one of another task: train it on what this one "
                "has learned, with model.backbone.preset or a stage after it"
            )
        if verb in self.served_by:
            raise RecipeError(
                f"zoo.{verb}: got a run of task: {self.type}, expected one of another task: use `python -m "
                f"zoo.{self.served_by[verb]}` with it"
            )

    def misfit(self, stated: Stated) -> str | None:
        """Why labels of which this is known cannot be learned, as `got X, expected Y`; None where nothing is wrong."""
        return None

    def stated(self, stated: Stated) -> Self | None:
        """The task with what is known of the labels, where that is all there is to know; None where it is not."""
        return None

    @property
    def tagging(self) -> Tagging:
        """How the tags of words are read, where texts have a label for each."""
        raise NotImplementedError

    def missing(self, label: Any) -> bool:
        """Whether a label, as it was read, is none."""
        return no_label(label)

    def learned(
        self, labels: Mapping[str, Sequence[Any]], stated: Stated, where: Where = by_number
    ) -> tuple[Self, dict[str, Any]]:
        """The task with what the rows tell, and the targets of each split, [rows] or [rows, names].

        Args:
            labels: split -> a label a row as it was read, of several columns a tuple; none is missing.
            stated: what is known of them.
            where: what tells where rows stand that are refused.

        Raises:
            DataError: labels that cannot be used, all faults at once.
            RecipeError: the head is for other ones.
        """
        raise NotImplementedError

    def targets(self, labels: Sequence[Any], stated: Stated, where: Where = by_number) -> Any:
        """The targets of other rows, once the names are known; raises as `learned`, of the split `rows`."""
        raise NotImplementedError

    def misplaced(self, targets: Any, rows: Rows) -> Iterable[tuple[int, str]]:
        """Rows whose targets do not fit their texts, by number, and why, as the end of a sentence that begins with the
        row."""
        return ()

    def fitted(self, train: Any) -> Self:
        """The task with what the targets of the rows to train on tell, once all others are taken out of them.

        Raises DataError where there is nothing to learn from them.
        """
        return self

    def strata(self, targets: Any) -> NDArray[np.int64]:
        """By what rows are drawn in proportion, a number from 0 a row, [rows]."""
        raise NotImplementedError

    def refuse_few(self, targets: Any, parts: tuple[str, ...]) -> None:
        """DataError where train has too few rows of some kind to stand in train and in each carved part."""

    def account(self, targets: Mapping[str, Any]) -> dict[str, Any]:
        """What run.json tells of the targets by split, in its group `dataset`."""
        raise NotImplementedError

    def memberships(self, targets: Any) -> NDArray[np.bool_]:
        """Which classes each row has, [rows, names], of a task whose labels are classes."""
        rows = np.asarray(targets)
        found: NDArray[np.bool_] = rows[:, None] == np.arange(len(self.names)) if self.exclusive else rows == 1
        return found

    def majority(self, targets: Any) -> float:
        """Share of what is judged that has the commonest target."""
        return majority_share(targets)

    # --- from targets to a trained model

    @property
    def units(self) -> int:
        """Outputs a row."""
        return len(self.names)

    @property
    def unit_names(self) -> tuple[str, ...]:
        """What each output speaks for."""
        return self.names

    @property
    def activation(self) -> Literal["softmax", "sigmoid", "linear"]:
        """What makes values of the outputs."""
        raise NotImplementedError

    @property
    def problem_type(self) -> str | None:
        """What transformers calls it; None where the name of its model says all."""
        raise NotImplementedError

    def scaled(self, targets: Any) -> Any:
        """Targets in the unit that the model learns them in."""
        return targets

    @property
    def scale(self) -> tuple[Floats, Floats] | None:
        """By what outputs are multiplied, and what is added, to have the targets' own unit, each [units]; None: they
        have it."""
        return None

    def unscaled(self) -> Task:
        """The task of the model whose last layer does that by itself."""
        return self

    @property
    def target(self) -> np.ndarray:
        """The target of a row as a batch has it, of zeros: [] or [names], int32 or float32."""
        return np.zeros(len(self.names), np.int32)

    def placed(self, targets: Any, table: Tokenized, rows: Rows) -> np.ndarray:
        """Targets by row of the table, [rows, ...], or by token, [tokens] int32, -1 of those that have none."""
        found: np.ndarray = targets[table.owners]
        return found

    def counted(self, targets: Any, weights: np.ndarray) -> float:
        """The count that `loss` gives for these, on the host."""
        return float(weights.sum())

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """The loss of a batch as a sum and a count, so that those of several batches can be added up.

        Args:
            outputs: [batch, units] float32, of the active backend; of tokens [batch, length, units].
            targets: [batch, ...], as `scaled` has them; of tokens [batch, length] int32, -1 of those that have none.
            weights: [batch] float32, 0 for a row that only fills the batch up.

        Returns:
            The weighted sum over rows or tokens, in nats or in the targets' own unit, and the sum of their weights;
            scalars.
        """
        raise NotImplementedError

    def hits(self, outputs: np.ndarray, targets: Any, weights: np.ndarray) -> Mapping[str, float]:
        """What is told of training while it goes on, by name: weighted sums, to be divided by `counted`.

        Args:
            outputs, targets, weights: as those of `loss`, of real rows alone.
        """
        raise NotImplementedError

    def means(self, hits: Mapping[str, float], counted: float) -> dict[str, float]:
        """What hits come to, added up over so many things."""
        return {name: total / counted for name, total in hits.items()}

    # --- from outputs to what is said of them

    def gathered(self, outputs: np.ndarray, table: Tokenized, rows: Rows) -> Any:
        """The outputs of every token, [tokens, units] float32, as `values` takes them, by text."""
        raise NotImplementedError

    def values(self, outputs: ArrayLike) -> Floats:
        """What outputs [texts, units] say, [texts, names] float64: probabilities, for instance. Raises TrainingError
        where an output is not finite."""
        raise NotImplementedError

    def named_values(self, rows: Sequence[Mapping[str, float]]) -> Floats:
        """Values [rows, names] from another program's, a row by name of the unit."""
        return np.array([[row[name] for name in self.names] for row in rows])

    @property
    def blank(self) -> Any:
        """Values of a text of which nothing is known, for the columns of its prediction."""
        return np.zeros((1, len(self.names)))

    def decided(self, values: Any) -> Any:
        """The prediction of each row, as targets are: from `values`."""
        raise NotImplementedError

    def same(self, first: Any, second: Any) -> NDArray[np.bool_]:
        """Whether both values decide the same, [rows]."""
        equal: Any = self.decided(first) == self.decided(second)
        found: NDArray[np.bool_] = equal.reshape(len(equal), -1).all(axis=1)
        return found

    def difference(self, first: Any, second: Any) -> float:
        """The largest between values of the same rows: of a probability, or as a share of the largest number."""
        return float(np.abs(first - second).max())

    def foremost(self, values: Any) -> NDArray[np.int64]:
        """The number of the name that is spoken of first, [rows]: of the likeliest class, for instance."""
        found: NDArray[np.int64] = values.argmax(axis=1)
        return found

    def direction(self, number: int) -> NDArray[np.float32]:
        """By what outputs are multiplied to get what speaks for a name, [units] float32."""
        return np.asarray(np.eye(self.units)[number], np.float32)

    def tuned(self, values: Any, targets: Any) -> Self:
        """The task with what the validation split decides, a threshold for instance; itself where there is nothing."""
        return self

    def untuned(self, targets: Any) -> str | None:
        """What the validation split was to decide and has too few rows for, as a sentence; None where there is nothing
        of the kind."""
        return None

    def figures(self, values: Any, targets: Any) -> dict[str, float]:
        """The figures of a split, each a plain number."""
        raise NotImplementedError

    def predictions(self, values: Any) -> list[Prediction]:
        """What is answered, a row each."""
        raise NotImplementedError

    def rows(self, ids: Sequence[str], targets: Any, values: Any) -> Iterator[dict[str, Any]]:
        """The rows of predictions.jsonl: id, label, prediction, and the values with 8 decimals."""
        raise NotImplementedError

    def label(self, target: Any) -> str | list[str] | dict[str, float]:
        """What a target says, as rows of predictions.jsonl have it: a class, several, or numbers by name."""
        raise NotImplementedError

    def confusion(self, targets: Any, values: Any) -> NDArray[np.int64] | None:
        """How many rows of each class (or level), by row, were taken for each, by column; None where there are none."""
        return None

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
        """Targets and values of such rows."""
        raise NotImplementedError
