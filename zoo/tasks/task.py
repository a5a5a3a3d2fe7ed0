"""What every task is to those who read its labels, train, judge and show it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.recipe import notebook
from zoo.score.ranking import Ranking
from zoo.tasks.refused import Where, by_number
from zoo.tasks.shown import Kind, Mistakes, Picture, Table, figure

__all__ = ["Prediction", "Predictions", "Rankings", "Stated", "Task", "no_label"]

LARGE = 0.6
"""Share of the rows from which on the largest class makes accuracy say little."""
Floats = NDArray[np.float64]
MOST_SHOWN = 20
"""Classes of a prediction, or predictions, that a notebook shows."""
Rankings = Sequence[Ranking | None]
"""One a class; None where no row or every row is of it."""


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What the recipe or the catalog says of the labels, before a row is read.

    columns: where they stand. names: by number, None where the rows tell. numbers: label as it stands in the file ->
    number of its class, None where the file has names or numbers. delimiter: between the labels of a text. values:
    the number that each class stands for, for regression, and quantity what that number is called.
    """

    columns: tuple[str, ...]
    names: tuple[str, ...] | None = None
    numbers: Mapping[str, int] | None = None
    delimiter: str | None = None
    values: tuple[float, ...] | None = None
    quantity: str | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of one text; the subclass of a task has its fields."""

    def fields(self) -> dict[str, Any]:
        """As JSON has it."""
        raise NotImplementedError

    def cells(self) -> list[tuple[str, Any]]:
        """As a row of a table, each cell with its column: strings, numbers, or a list of strings."""
        raise NotImplementedError

    def told(self) -> tuple[str, str]:
        """The answer in a word, and a figure beside it, for people."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """In a notebook: the answer, and the likeliest classes where there are some."""
        falling = sorted(self.fields().get("probabilities", {}).items(), key=lambda pair: -pair[1])
        more = notebook.heading("", f"and {len(falling) - MOST_SHOWN:,} others") if len(falling) > MOST_SHOWN else ""
        return notebook.heading(*self.told()) + (notebook.bars(falling[:MOST_SHOWN]) if falling else "") + more


class Predictions(list[Prediction]):
    """Predictions in the order of their texts: a list, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        """In a notebook: the first ones, a row each."""
        rows = [(number, *each.told()) for number, each in enumerate(self[:MOST_SHOWN])]
        left = len(self) - MOST_SHOWN
        return notebook.table(rows, ("", "answer", "")) + (
            notebook.heading("", f"and {left:,} more") if left > 0 else ""
        )


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a model learns; a value, changed by `learned` and `tuned` into another.

    names are those of the targets: of classes by their number, or of numbers; none before the rows are read.
    """

    type: str
    """As a recipe names the task."""
    names: tuple[str, ...] = ()
    threshold: float | tuple[float, ...] | None = None
    """From which value a row counts as class 1, or each class as given; None where the task has no such thing."""
    titles: ClassVar[Mapping[str, str]]
    """Figures that a report shows -> what they are called there, in order."""
    shares: ClassVar[frozenset[str]]
    """Those of them that are shares of 1."""
    amounts: ClassVar[frozenset[str]] = frozenset()
    """Those of them that are in the targets' own unit."""
    headline: ClassVar[tuple[str, ...]]
    """Those that matter most, the first of all first."""
    drawn: ClassVar[tuple[str, ...]]
    """Those that are drawn over the epochs on one axis."""
    falling: ClassVar[frozenset[str]] = frozenset({"loss"})
    """Figures of which less is better."""
    commonest: ClassVar[str] = "the commonest answer"
    """What `majority_share` is the share of."""
    least: ClassVar[int] = 0
    """Rows of each stratum that have to be in every split and under every limit."""
    quantity: ClassVar[str] = "probability"
    """What a value is."""

    # --- from rows to targets

    @classmethod
    def of(cls, head: Any) -> Self:
        """The task of a recipe's head, before the rows are read."""
        raise NotImplementedError

    def misfit(self, stated: Stated) -> str | None:
        """Why labels of which this is known cannot be learned, as `got X, expected Y`; None where nothing is wrong."""
        return None

    def stated(self, stated: Stated) -> Self | None:
        """The task with what is known of the labels, where that is all there is to know; None where it is not."""
        return None

    def missing(self, label: Any) -> bool:
        """Whether a label, as it was read, is none."""
        return no_label(label)

    def learned(
        self, labels: Mapping[str, Sequence[Any]], stated: Stated, where: Where = by_number
    ) -> tuple[Self, dict[str, np.ndarray]]:
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

    def targets(self, labels: Sequence[Any], stated: Stated, where: Where = by_number) -> np.ndarray:
        """The targets of other rows, once the names are known; raises as `learned`, of the split `rows`."""
        raise NotImplementedError

    def fitted(self, train: np.ndarray) -> Self:
        """The task with what the targets of the rows to train on tell, once all others are taken out of them.

        Raises DataError where there is nothing to learn from them.
        """
        return self

    def strata(self, targets: np.ndarray) -> NDArray[np.int64]:
        """By what rows are drawn in proportion, a number from 0 a row, [rows]."""
        raise NotImplementedError

    def refuse_few(self, targets: np.ndarray, parts: tuple[str, ...]) -> None:
        """DataError where train has too few rows of some kind to stand in train and in each carved part."""

    def account(self, targets: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """What run.json tells of the targets by split, in its group `dataset`."""
        raise NotImplementedError

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
    def problem_type(self) -> str:
        """What transformers calls it."""
        raise NotImplementedError

    def scaled(self, targets: np.ndarray) -> np.ndarray:
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

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """The loss of a batch as a sum and a count, so that those of several batches can be added up.

        Args:
            outputs: [batch, units] float32, of the active backend.
            targets: [batch, ...], as `scaled` has them.
            weights: [batch] float32, 0 for a row that only fills the batch up.

        Returns:
            The weighted sum over the rows, in nats or in the targets' own unit, and the sum of the weights; scalars.
        """
        raise NotImplementedError

    def hits(self, outputs: np.ndarray, targets: np.ndarray) -> Mapping[str, float]:
        """What is told of training while it goes on, by name: sums over these rows, to be divided by their number.

        Args:
            outputs: [rows, units] float32; targets: [rows, ...], as `scaled` has them.
        """
        raise NotImplementedError

    # --- from outputs to what is said of them

    def values(self, outputs: ArrayLike) -> Floats:
        """What outputs [rows, units] say, [rows, names] float64: probabilities, for instance.

        Raises TrainingError where an output is not finite.
        """
        raise NotImplementedError

    def named_values(self, rows: Sequence[Mapping[str, float]]) -> Floats:
        """Values [rows, names] from another program's, a row by name of the unit."""
        return np.array([[row[name] for name in self.names] for row in rows])

    def decided(self, values: Floats) -> np.ndarray:
        """The prediction of each row, as targets are: from `values`."""
        raise NotImplementedError

    def same(self, first: Floats, second: Floats) -> NDArray[np.bool_]:
        """Whether both values decide the same, [rows]."""
        equal = self.decided(first) == self.decided(second)
        found: NDArray[np.bool_] = equal.reshape(len(equal), -1).all(axis=1)
        return found

    def difference(self, first: Floats, second: Floats) -> float:
        """The largest between values of the same rows: of a probability, or as a share of the largest number."""
        return float(np.abs(first - second).max())

    def foremost(self, values: Floats) -> NDArray[np.int64]:
        """The number of the name that is spoken of first, [rows]: of the likeliest class, for instance."""
        found: NDArray[np.int64] = values.argmax(axis=1)
        return found

    def direction(self, number: int) -> NDArray[np.float32]:
        """By what outputs are multiplied to get what speaks for a name, [units] float32."""
        found: NDArray[np.float32] = np.eye(self.units, dtype=np.float32)[number]
        return found

    def tuned(self, values: Floats, targets: ArrayLike) -> Self:
        """The task with what the validation split decides, a threshold for instance; itself where there is nothing."""
        return self

    def figures(self, values: Floats, targets: ArrayLike) -> dict[str, float]:
        """The figures of a split, each a plain number."""
        raise NotImplementedError

    def predictions(self, values: Floats) -> list[Prediction]:
        """What is answered, a row each."""
        raise NotImplementedError

    def rows(self, ids: Sequence[str], targets: ArrayLike, values: ArrayLike) -> Iterator[dict[str, Any]]:
        """The rows of predictions.jsonl: id, label, prediction, and the values with 8 decimals."""
        raise NotImplementedError

    def label(self, target: Any) -> str | list[str] | dict[str, float]:
        """What a target says, as rows of predictions.jsonl have it: a class, several, or numbers by name."""
        raise NotImplementedError

    def confusion(self, targets: np.ndarray, values: Floats) -> NDArray[np.int64] | None:
        """How many rows of each class (or level), by row, were taken for each, by column; None where there are none."""
        return None

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, Floats]:
        """Targets and values of such rows."""
        raise NotImplementedError

    # --- what is shown to people

    @property
    def aim(self) -> str:
        """What the model does with texts, as the end of a sentence that begins with `to`."""
        raise NotImplementedError

    @property
    def listed_names(self) -> str:
        """The names with what they are, as `classes: a, b`."""
        raise NotImplementedError

    def listed_shares(self, targets: np.ndarray) -> str:
        """`listed_names`, with the share of these rows that each class has."""
        return self.listed_names

    def never_predicted(self, targets: np.ndarray, values: Floats) -> list[str]:
        """Classes that rows have, and that none is given; none where there are no classes."""
        return []

    def kind(self, name: str) -> Kind:
        """What a figure is, or an end of its interval."""
        name = name.partition(".")[0].removesuffix("_low").removesuffix("_high")
        return "share" if name in self.shares else "amount" if name in self.amounts else "number"

    def shown(self, name: str, value: float, rows: int | None) -> str:
        """A figure for people, with the digits that so many rows carry."""
        return figure(self.kind(name), value, rows)

    def told(self, figures: Mapping[str, Any]) -> str:
        """The figures of the test split that matter most, in a line; None stands for one that is not finite."""
        parts, rows = [], figures.get("rows")
        shown = {name: self.shown(name, value, rows) for name, value in figures.items() if value is not None}
        for name in self.headline:
            if name not in shown:
                continue
            beside = []
            if f"{name}_low" in shown:
                beside.append(f"95% interval {shown[f'{name}_low']} to {shown[f'{name}_high']}")
            largest = figures.get("majority_share", 0.0) if name == "accuracy" else 0.0
            if largest:
                beside.append(f"{self.commonest} alone {shown['majority_share']}")
            parts.append(f"{name} {shown[name]}" + (f" ({'; '.join(beside)})" if beside else ""))
            if largest > LARGE and not self.averaged and "macro_f1" in shown:
                parts.append(f"macro f1 {shown['macro_f1']}")
        return ", ".join(parts)

    @property
    def averaged(self) -> bool:
        """Whether F1, precision and recall are means over the classes."""
        return False

    def further(self, targets: np.ndarray, values: Floats) -> dict[str, float]:
        """Figures of the test split that stand in the report alone, by name."""
        return {}

    def rankings(self, targets: np.ndarray, values: Floats) -> Rankings:
        """How well each class is told from the others; none where there are no classes."""
        return []

    def tables(
        self, targets: np.ndarray, values: Floats, *, most: int, rankings: Rankings | None = None
    ) -> list[Table]:
        """Tables of the test split, of at most so many rows; `rankings` where they stand beside the pictures."""
        raise NotImplementedError

    def details(self, targets: np.ndarray, values: Floats) -> dict[str, Any]:
        """All that the tables have, in plain values."""
        raise NotImplementedError

    def pictures(self, targets: np.ndarray, values: Floats, rankings: Rankings) -> dict[str, Picture]:
        """What to draw of the test split, by name."""
        raise NotImplementedError

    def occurrences(self, account: Mapping[str, Any]) -> Picture | None:
        """What to draw of `account`, if anything."""
        return None

    def mistakes(self, targets: np.ndarray, values: Floats, *, most: int) -> Mistakes:
        """Rows that are wrong, the worst first, at most so many."""
        raise NotImplementedError

    def showcase(self, values: Floats) -> list[int]:
        """Row numbers in the order in which rows are good examples of what the model tells."""
        raise NotImplementedError

    @property
    def explained(self) -> str:
        """What figures and predictions mean, as sentences of a report."""
        raise NotImplementedError

    @property
    def threshold_note(self) -> str | None:
        """What a program has to be told that knows no threshold, as a sentence without its subject."""
        return None

    @property
    def limits(self) -> tuple[str, ...]:
        """What to know before one uses it, a sentence each."""
        return ()


def no_label(value: Any) -> bool:
    """None, not a number, or a blank string."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())
