"""Numbers of a text, one or several, as they are or, with `ordinal`, on a scale of whole levels as stars are.

In come numbers (a column each, or classes that the catalog knows the numbers of), outputs, and targets; out come
squared errors, numbers, levels and figures. The model learns targets less their mean and by their deviation in train,
so that prices and stars are learned alike; a trained model's last layer gives the numbers themselves. Refused: cells
that are no numbers, a number that is the same in all of train, levels that are not whole or not in the scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import DataError
from zoo.recipe.heads import RegressionHead
from zoo.recipe.showing import listed
from zoo.score import metrics, regression
from zoo.tasks.by_class import class_occurrences
from zoo.tasks.material import Stated
from zoo.tasks.numbers import NumbersPrediction, known_values, numbers_in, told
from zoo.tasks.prediction import Prediction
from zoo.tasks.refused import Where, by_number, each_split
from zoo.tasks.shown import Column, Mistake, Mistakes, Picture, Table
from zoo.tasks.task import Floats, Rankings, Task

__all__ = ["NumbersPrediction", "Regression", "squared_error"]

MOST_LEVELS = 1000
"""Of an ordinal scale: agreement is counted for each pair of levels."""
PICTURED = 4
"""Numbers of a text that are drawn, and 40 levels."""
TINY, HUGE = 1e-30, 1e30
"""Between which a deviation has to be, for float32 to hold the numbers."""
NEAR = 0.01
"""Deviations by which two numbers may differ and count as the same."""
GOLDEN = 0.6180339887498949
"""Multiples of it, less their whole part, are spread evenly however many are taken."""


@dataclass(frozen=True, kw_only=True)
class Regression(Task):
    """Targets are numbers, [rows, names] float64.

    ordinal: whether they are whole levels; levels: the lowest and the highest, None takes those of train. mean and
    deviation: of each number in train. scaled_outputs: whether the model gives numbers less their mean and by their
    deviation; preset: whether the head comes with the preset, and gives the numbers themselves.
    """

    type: Literal["regression"] = "regression"
    names: tuple[str, ...] = ()
    ordinal: bool = False
    levels: tuple[int, int] | None = None
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    scaled_outputs: bool = True
    preset: bool = False

    titles: ClassVar[Mapping[str, str]] = {
        "mean_absolute_error": "mean absolute error",
        "mean_squared_error": "mean squared error",
        "r2": "R²",
        "spearman": "Spearman correlation",
        "accuracy": "level right",
        "majority_share": "commonest level alone",
        "within_one": "at most one level off",
        "quadratic_kappa": "quadratic kappa",
        "loss": "loss",
    }
    shares: ClassVar[frozenset[str]] = frozenset({"accuracy", "majority_share", "within_one"})
    headline: ClassVar[tuple[str, ...]] = ("mean_absolute_error", "r2", "accuracy", "within_one")
    commonest: ClassVar[str] = "the commonest level"
    drawn: ClassVar[tuple[str, ...]] = ("r2", "spearman", "accuracy")
    amounts: ClassVar[frozenset[str]] = frozenset({"mean_absolute_error", "mean_squared_error"})
    falling: ClassVar[frozenset[str]] = amounts | {"loss"}
    quantity: ClassVar[str] = "value"

    def __post_init__(self) -> None:
        if self.mean and not len(self.mean) == len(self.deviation) == len(self.names):
            raise ValueError(f"expected a mean and a deviation for each of {len(self.names)} names")

    # --- from rows to targets

    @classmethod
    def of(cls, head: RegressionHead) -> Self:
        known = head.init == "preset"
        return cls(ordinal=head.ordinal, levels=head.levels, preset=known, scaled_outputs=not known)

    def misfit(self, stated: Stated) -> str | None:
        if stated.names is not None and stated.values is None:
            return f"got regression, expected a head for classes: the data has {listed(stated.names)}, and no numbers"
        return None

    def missing(self, label: Any) -> bool:
        return any(map(super().missing, label)) if isinstance(label, tuple) else super().missing(label)

    def learned(
        self, labels: Mapping[str, Sequence[Any]], stated: Stated, where: Where = by_number
    ) -> tuple[Self, dict[str, np.ndarray]]:
        names = (stated.quantity,) if stated.quantity is not None else stated.columns
        found = each_split(labels, lambda split, rows: numbers_in(split, rows, stated, where))
        return replace(self, names=names, levels=self._levels(found, where) if self.ordinal else None), found

    def fitted(self, train: np.ndarray) -> Self:
        if self.preset:
            return replace(self, mean=(0.0,) * len(self.names), deviation=(1.0,) * len(self.names))
        with np.errstate(over="ignore"):
            mean, deviation = train.mean(axis=0), train.std(axis=0)
        for name, column, spread in zip(self.names, train.T, deviation, strict=True):
            if column.min() == column.max():
                raise DataError(
                    f"label: all rows of train have the same {name}, {column[0]:g}: there is nothing to learn"
                )
            if not TINY < spread < HUGE:
                raise DataError(
                    f"label: {name} is from {column.min():g} to {column.max():g} in train, expected numbers of a size "
                    "that a model can give: take another unit"
                )
        return replace(self, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()))

    def targets(self, labels: Sequence[Any], stated: Stated, where: Where = by_number) -> np.ndarray:
        """The numbers themselves are taken too where the catalog has classes, unless they could be class numbers."""
        found = None if stated.values is None or stated.numbers is not None else known_values(labels, stated)
        found = numbers_in("rows", labels, stated, where) if found is None else found
        if self.levels is not None:
            self._refuse_off_scale({"rows": found}, *self.levels, where)
        return found

    def _levels(self, targets: Mapping[str, np.ndarray], where: Where) -> tuple[int, int]:
        """The scale; DataError where a target is not on it."""
        low, high = self.levels or (int(targets["train"].min()), int(targets["train"].max()))
        self._refuse_off_scale(targets, low, high, where)
        if high - low >= MOST_LEVELS:
            raise DataError(
                f"label: {low} to {high} are more than {MOST_LEVELS:,} levels: use model.head.ordinal: false"
            )
        return low, high

    def _refuse_off_scale(self, targets: Mapping[str, np.ndarray], low: int, high: int, where: Where) -> None:
        faults = []
        for split, numbers in targets.items():
            off = (numbers < low) | (numbers > high) | (numbers != np.floor(numbers))
            if off.any():
                told = listed([f"{number:g}" for number in np.unique(numbers[off])])
                place = where(split, np.flatnonzero(off.any(axis=1)).tolist())
                faults.append(
                    f"{place}: got {told}, expected whole levels from {low} to {high} (model.head.levels), or "
                    "model.head.ordinal: false"
                )
        if faults:
            raise DataError(faults)

    def strata(self, targets: np.ndarray) -> NDArray[np.int64]:
        """Tenths of the rows by their first number, equal numbers together."""
        edges = np.quantile(targets[:, 0], np.arange(1, 10) / 10)
        _, numbers = np.unique(np.searchsorted(edges, targets[:, 0]), return_inverse=True)
        found: NDArray[np.int64] = numbers.astype(np.int64)
        return found

    def account(self, targets: Mapping[str, np.ndarray]) -> dict[str, Any]:
        found: dict[str, Any] = {"label_names": list(self.names)}
        if self.levels is not None:
            low, high = self.levels
            found["label_counts"] = {
                split: np.bincount(numbers[:, 0].astype(np.int64) - low, minlength=high - low + 1).tolist()
                for split, numbers in targets.items()
            }
        return found

    # --- from targets to a trained model

    @property
    def activation(self) -> Literal["linear"]:
        return "linear"

    @property
    def problem_type(self) -> str:
        return "regression"

    def scaled(self, targets: np.ndarray) -> np.ndarray:
        return (targets - self.mean) / self.deviation

    @property
    def scale(self) -> tuple[Floats, Floats] | None:
        return (np.array(self.deviation), np.array(self.mean)) if self.scaled_outputs else None

    def unscaled(self) -> Self:
        return replace(self, scaled_outputs=False)

    @property
    def target(self) -> np.ndarray:
        return np.zeros(len(self.names), np.float32)

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """Squared error by the variance in train, the mean over the numbers; see `Task.loss`."""
        return squared_error(outputs, targets, weights)

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]:
        off = np.abs(outputs - targets) * self.deviation
        return {"mean_absolute_error": float((off.mean(axis=1) * weights).sum())}

    # --- from outputs to what is said of them

    def values(self, outputs: ArrayLike) -> Floats:
        found = metrics.finite(outputs, len(self.names))
        return found * self.deviation + self.mean if self.scaled_outputs else found

    def decided(self, values: Floats) -> np.ndarray:
        return values if self.levels is None else regression.rounded(values, self.levels)

    def same(self, first: Floats, second: Floats) -> NDArray[np.bool_]:
        """On a scale the same level; else whether all numbers are NEAR each other."""
        if self.levels is not None:
            return super().same(first, second)
        off = np.abs(first - second) / self.deviation
        found: NDArray[np.bool_] = off.max(axis=1) <= NEAR
        return found

    def difference(self, first: Floats, second: Floats) -> float:
        """By the largest number, where that is above 1: float32 has seven digits."""
        return super().difference(first, second) / max(1.0, float(np.abs(second).max()))

    def foremost(self, values: Floats) -> NDArray[np.int64]:
        return np.zeros(len(values), np.int64)

    def figures(self, values: Floats, targets: ArrayLike) -> dict[str, float]:
        truth = np.asarray(targets)
        if self.levels is None:
            found = regression.evaluate(values, truth, self.names)
        else:
            found = regression.ordinal(values[:, 0], truth[:, 0], self.levels)
        return {**found, "loss": float(np.square((values - truth) / self.deviation).mean())}

    def predictions(self, values: Floats) -> list[Prediction]:
        levels = None if self.levels is None else self.decided(values)
        return [
            NumbersPrediction(
                values=dict(zip(self.names, row, strict=True)),
                levels=None if levels is None else dict(zip(self.names, levels[place].tolist(), strict=True)),
            )
            for place, row in enumerate(values.tolist())
        ]

    def rows(self, ids: Sequence[str], targets: ArrayLike, values: ArrayLike) -> Iterator[dict[str, Any]]:
        given = np.asarray(values, dtype=np.float64)
        truth, decided = np.asarray(targets), self.decided(given)
        for key, own, chosen, row in zip(ids, truth, decided, np.round(given, 8), strict=True):
            found: dict[str, Any] = {"id": key, "label": self.label(own), "prediction": self.label(row)}
            if self.levels is not None:
                found |= {"prediction": self.label(chosen), "values": self.label(row)}
            yield found

    def label(self, target: Any) -> dict[str, float]:
        return dict(zip(self.names, target.tolist(), strict=True))

    def confusion(self, targets: np.ndarray, values: Floats) -> NDArray[np.int64] | None:
        if self.levels is None:
            return None
        low, high = self.levels
        levels = targets[:, 0].astype(np.int64) - low, self.decided(values)[:, 0] - low
        return metrics.confusion(*levels, range(high - low + 1))

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, Floats]:
        truth = np.array([[row["label"][name] for name in self.names] for row in rows], np.float64)
        given = [row.get("values", row["prediction"]) for row in rows]
        return truth, np.array([[row[name] for name in self.names] for row in given], np.float64)

    # --- what is shown to people

    @property
    def aim(self) -> str:
        scale = "" if self.levels is None else f" from {self.levels[0]} to {self.levels[1]}"
        return f"estimate {listed(self.names, 20)}{scale}"

    @property
    def listed_names(self) -> str:
        scale = "" if self.levels is None else f", {self.levels[0]} to {self.levels[1]}"
        return f"numbers: {listed(self.names)}{scale}"

    def tables(
        self, targets: np.ndarray, values: Floats, *, most: int, rankings: Rankings | None = None
    ) -> list[Table]:
        keys = ("mean_absolute_error", "mean_squared_error", "r2", "spearman")
        columns = [Column(title=self.titles[key], kind="amount" if key in self.amounts else "number") for key in keys]
        columns += [Column(title=title, kind="amount") for title in ("mean", "deviation")]
        rows = regression.error_table(values, targets, self.names)
        return [
            Table(
                title="By number",
                columns=(Column(title="number", kind="name"), *columns),
                rows=tuple(tuple(row[key] for key in ("name", *keys, "mean", "deviation")) for row in rows[:most]),
                note=f"The first {most}; {len(rows) - most:,} others are left out." if len(rows) > most else "",
            )
        ]

    def details(self, targets: np.ndarray, values: Floats) -> dict[str, Any]:
        return {"numbers": regression.error_table(values, targets, self.names)}

    def pictures(self, targets: np.ndarray, values: Floats, rankings: Rankings) -> dict[str, Picture]:
        found: dict[str, Picture] = {}
        if self.levels is not None:
            low, high = self.levels
            levels = targets[:, 0].astype(np.int64) - low, self.decided(values)[:, 0] - low
            found["confusion_matrix"] = Picture(
                kind="confusion_matrix",
                arguments=(*levels, [str(level) for level in range(low, high + 1)]),
                caption="Test split: true level by row, predicted level by column",
            )
        for place, name in enumerate(self.names[:PICTURED]):
            number = "" if len(self.names) == 1 else f"_{place + 1}"
            columns = targets[:, place], values[:, place], name
            found[f"predicted{number}"] = Picture(
                kind="predicted_by_true", arguments=columns, caption=f"Test split: predicted {name} by the true one"
            )
            found[f"residuals{number}"] = Picture(
                kind="residuals", arguments=columns, caption=f"Test split: predicted {name} less the true one"
            )
        return found

    def occurrences(self, account: Mapping[str, Any]) -> Picture | None:
        if self.levels is None:
            return None
        levels = [str(level) for level in range(self.levels[0], self.levels[1] + 1)]
        return class_occurrences(account, levels, one="level")

    def mistakes(self, targets: np.ndarray, values: Floats, *, most: int) -> Mistakes:
        off = np.abs(values - targets)
        by_deviation = (off / self.deviation).mean(axis=1)
        worst = np.argsort(-by_deviation, kind="stable")[:most]
        wrong = None if self.levels is None else int((self.decided(values) != targets).any(axis=1).sum())
        return Mistakes(
            note=f"{len(worst)} of {len(values):,} test texts, those first whose numbers are furthest off: a look here "
            "often finds wrong labels.",
            figure="off by",
            wrong=wrong,
            worst=tuple(
                Mistake(
                    row=int(row),
                    label=told(self.label(targets[row])),
                    prediction=told(self.label(values[row])),
                    figure=told(self.label(off[row])),
                )
                for row in worst
            ),
        )

    def showcase(self, values: Floats) -> list[int]:
        """Low, high and middle values in turns."""
        rising = np.argsort(values[:, 0], kind="stable")
        turns = np.argsort(np.arange(len(rising)) * GOLDEN % 1.0, kind="stable")
        found: list[int] = rising[np.argsort(turns, kind="stable")].tolist()
        return found

    @property
    def explained(self) -> str:
        of_several = " Each is the mean over the numbers." if len(self.names) > 1 else ""
        scale = (
            ""
            if self.levels is None
            else " Levels are the nearest ones to the predicted numbers; quadratic kappa (Cohen 1968) is their "
            "agreement beyond chance, where a mistake weighs the square of its levels."
        )
        by = "" if self.preset else " by the variance in train"
        return (
            "R² is the share of the variance that is explained, 1 at best and below 0 where the mean would have been "
            f"nearer. The loss is the squared error{by}.{of_several}{scale}"
        )

    @property
    def limits(self) -> tuple[str, ...]:
        return ("It gives a number for every text, also for one that has none, and says nothing of how sure it is.",)


def squared_error(outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
    """Of outputs and targets [batch, names], the mean over the names; see `Task.loss`."""
    from keras import ops

    losses = ops.mean(ops.square(outputs - ops.cast(targets, outputs.dtype)), axis=-1)
    return ops.sum(losses * weights), ops.sum(weights)
