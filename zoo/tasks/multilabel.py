"""Any number of classes a text: a sigmoid unit for each.

In come labels (a list column, text with a delimiter, or one column a class), logits and matrices of 0 and 1; out come
binary cross-entropy, probabilities, predictions by a threshold a class, and figures. Refused: what zoo.tasks.labels
refuses, cells of class columns that are not 0 or 1, thresholds of classes that are not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from zoo.errors import DataError, RecipeError
from zoo.recipe.faults import not_among
from zoo.recipe.heads import MultilabelHead
from zoo.recipe.showing import listed
from zoo.score import metrics, multilabel, ranking
from zoo.tasks.by_class import (
    class_occurrences,
    class_table,
    in_turns,
    mistakes,
    ranking_pictures,
    strata_of,
    with_shares,
)
from zoo.tasks.labels import number_labels, numbers_of
from zoo.tasks.losses import of_flags
from zoo.tasks.material import Stated, no_label
from zoo.tasks.prediction import Prediction
from zoo.tasks.refused import Where, by_number, each_split
from zoo.tasks.shown import Mistakes, Picture, Table
from zoo.tasks.task import Floats, Rankings, Task
from zoo.tasks.thresholds import enough, left_alone

__all__ = ["LabelsPrediction", "Multilabel", "binary_cross_entropy"]

FLAGS = {"1": 1, "0": 0, "true": 1, "false": 0, "1.0": 1, "0.0": 0}
"""What may stand in the column of a class, in small letters."""


@dataclass(frozen=True, kw_only=True)
class LabelsPrediction(Prediction):
    """The classes of one text, in the order of the names, and the probability of every class, by name."""

    labels: tuple[str, ...]
    probabilities: dict[str, float]

    def fields(self) -> dict[str, Any]:
        return {"labels": list(self.labels), "probabilities": self.probabilities}

    def cells(self) -> list[tuple[str, Any]]:
        return [("labels", list(self.labels)), *self.probabilities.items()]

    def told(self) -> tuple[str, str]:
        shares = (self.probabilities[name] for name in self.labels)
        return ", ".join(self.labels) or "none", " ".join(f"{share:.0%}" for share in shares).rjust(4)


@dataclass(frozen=True, kw_only=True)
class Multilabel(Task):
    """Targets are 1 for the classes of a row and 0 for the others, [rows, names] int32.

    threshold: the probability from which a text has each class. asked: what the recipe says of that, one for all or
    some by name (0.5 for the others); None has validation decide.
    """

    type: Literal["multilabel"] = "multilabel"
    names: tuple[str, ...] = ()
    threshold: tuple[float, ...] | None = None
    asked: float | dict[str, float] | None = 0.5

    titles: ClassVar[Mapping[str, str]] = {
        "f1": "F1, macro",
        "micro_f1": "F1, micro",
        "samples_f1": "F1, by text",
        "precision": "precision, macro",
        "recall": "recall, macro",
        "accuracy": "whole set right",
        "majority_share": "commonest set alone",
        "label_ranking_average_precision": "label ranking average precision",
        "roc_auc": "area under ROC, macro",
        "average_precision": "average precision, macro",
        "hamming_loss": "Hamming loss",
        "loss": "loss, nats",
    }
    shares: ClassVar[frozenset[str]] = frozenset(titles) - {"loss"}
    headline: ClassVar[tuple[str, ...]] = ("f1", "accuracy")
    commonest: ClassVar[str] = "the commonest set"
    exclusive: ClassVar[bool] = False
    drawn: ClassVar[tuple[str, ...]] = ("f1", "micro_f1", "accuracy")
    falling: ClassVar[frozenset[str]] = frozenset({"loss", "hamming_loss"})

    def __post_init__(self) -> None:
        if self.names and len(self.threshold or ()) != len(self.names):
            raise ValueError(
                f"{len(self.threshold or ())} thresholds, expected one for each of {len(self.names)} names"
            )

    # --- from rows to targets

    @classmethod
    def of(cls, head: MultilabelHead) -> Self:
        return cls(asked=None if head.threshold == "tune" else head.threshold)

    def stated(self, stated: Stated) -> Self | None:
        names = stated.names or (stated.columns if len(stated.columns) > 1 else None)
        return None if names is None else self._named(names)

    def missing(self, label: Any) -> bool:
        """A blank text or an empty list is a text without a class, and nothing missing."""
        return any(map(super().missing, label)) if isinstance(label, tuple) else label is None or label != label

    def learned(
        self, labels: Mapping[str, Sequence[Any]], stated: Stated, where: Where = by_number
    ) -> tuple[Self, dict[str, np.ndarray]]:
        if len(stated.columns) > 1:
            found = self._named(stated.names or stated.columns)
            flags = each_split(labels, lambda split, rows: _flags(split, rows, stated.columns, where))
            absent = [name for name, count in zip(found.names, flags["train"].sum(axis=0), strict=True) if not count]
            if absent:
                raise DataError(f"label: no row of train has {listed(absent)}; leave the column out, or add rows")
            return found, flags
        lists = each_split(labels, lambda split, rows: _lists(split, rows, stated.delimiter, where))
        flat = {split: [label for row in rows for label in row] for split, rows in lists.items()}
        names, numbers = number_labels(flat, stated.names, stated.numbers, _of_owners(lists, where))
        return self._named(names), {split: _matrix(lists[split], numbers[split], len(names)) for split in lists}

    def targets(self, labels: Sequence[Any], stated: Stated, where: Where = by_number) -> np.ndarray:
        if len(stated.columns) > 1:
            return _flags("rows", labels, stated.columns, where)
        lists = _lists("rows", labels, stated.delimiter, where)
        flat = [label for row in lists for label in row]
        numbers = numbers_of(flat, self.names, stated.numbers, _of_owners({"rows": lists}, where))
        return _matrix(lists, numbers, len(self.names))

    def strata(self, targets: np.ndarray) -> NDArray[np.int64]:
        """The set of classes, where it has enough rows; the others together."""
        return strata_of(targets)

    def account(self, targets: Mapping[str, np.ndarray]) -> dict[str, Any]:
        counts = {split: matrix.sum(axis=0).tolist() for split, matrix in targets.items()}
        return {"label_names": list(self.names), "label_counts": counts}

    # --- from targets to a trained model

    @property
    def activation(self) -> Literal["sigmoid"]:
        return "sigmoid"

    @property
    def problem_type(self) -> str:
        return "multi_label_classification"

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """Binary cross-entropy in nats, the mean over the classes; see `Task.loss`."""
        return binary_cross_entropy(outputs, targets, weights)

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]:
        return {"accuracy": float(weights[((outputs > 0.0) == (targets == 1)).all(axis=1)].sum())}

    # --- from outputs to what is said of them

    def values(self, outputs: ArrayLike) -> Floats:
        found: Floats = expit(metrics.finite(outputs, len(self.names)))
        return found

    def decided(self, values: Floats) -> NDArray[np.int64]:
        assert self.threshold is not None
        return multilabel.decided(values, self.threshold)

    def tuned(self, values: Floats, targets: ArrayLike) -> Self:
        """Of the classes that enough rows speak for; the others keep theirs."""
        if self.asked is not None or self.threshold is None:
            return self
        may = enough(targets)
        if not may.any():
            return replace(self, asked=self.threshold[0])
        best = multilabel.tune_thresholds(values, targets)
        chosen = zip(may, best, self.threshold, strict=True)
        return replace(self, threshold=tuple(new if well else old for well, new, old in chosen))

    def untuned(self, targets: ArrayLike) -> str | None:
        if self.asked is not None or self.threshold is None or enough(targets).all():
            return None
        short = [name for name, well in zip(self.names, enough(targets), strict=True) if not well]
        return left_alone(short, f"{self.threshold[0]:g}")

    def figures(self, values: Floats, targets: ArrayLike) -> dict[str, float]:
        assert self.threshold is not None
        return multilabel.evaluate(values, targets, self.names, self.threshold)

    def predictions(self, values: Floats) -> list[Prediction]:
        return [
            LabelsPrediction(
                labels=self._names_of(chosen), probabilities=dict(zip(self.names, map(float, row), strict=True))
            )
            for chosen, row in zip(self.decided(values), values, strict=True)
        ]

    def rows(self, ids: Sequence[str], targets: ArrayLike, values: ArrayLike) -> Iterator[dict[str, Any]]:
        shares = np.asarray(values, dtype=np.float64)
        for key, own, chosen, row in zip(ids, np.asarray(targets), self.decided(shares), shares, strict=True):
            yield {
                "id": key,
                "label": self.label(own),
                "prediction": list(self._names_of(chosen)),
                "probabilities": np.round(row, 8).tolist(),
            }

    def label(self, target: Any) -> list[str]:
        return list(self._names_of(target))

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, Floats]:
        number = {name: index for index, name in enumerate(self.names)}
        lists = [row["label"] for row in rows]
        flat = np.array([number[name] for row in lists for name in row], np.int64)
        shares = np.array([row["probabilities"] for row in rows], dtype=np.float64)
        return _matrix(lists, flat, len(self.names)), shares

    # --- what is shown to people

    @property
    def aim(self) -> str:
        return f"find which of {len(self.names)} classes a text has, none or several: {listed(self.names, 20)}"

    @property
    def listed_names(self) -> str:
        return f"classes, any number a text: {listed(self.names)}"

    def listed_shares(self, targets: np.ndarray) -> str:
        told = with_shares(self.names, targets.sum(axis=0), len(targets))
        return f"classes, any number a text: {listed(told)}"

    def never_predicted(self, targets: np.ndarray, values: Floats) -> list[str]:
        lacking = np.any(targets, axis=0) & ~np.any(self.decided(values), axis=0)
        return [self.names[number] for number in np.flatnonzero(lacking)]

    @property
    def averaged(self) -> bool:
        return True

    def rankings(self, targets: np.ndarray, values: Floats) -> Rankings:
        return ranking.rank_each(values, targets, self.names)

    def tables(
        self, targets: np.ndarray, values: Floats, *, most: int, rankings: Rankings | None = None
    ) -> list[Table]:
        rows = multilabel.class_table(targets, self.decided(values), self.names)
        return [class_table(rows, rankings, most)]

    def details(self, targets: np.ndarray, values: Floats) -> dict[str, Any]:
        return {"classes": multilabel.class_table(targets, self.decided(values), self.names)}

    def pictures(self, targets: np.ndarray, values: Floats, rankings: Rankings) -> dict[str, Picture]:
        return ranking_pictures(rankings, len(targets))

    def occurrences(self, account: Mapping[str, Any]) -> Picture | None:
        return class_occurrences(account, self.names, rows=account.get("rows"))

    def mistakes(self, targets: np.ndarray, values: Floats, *, most: int) -> Mistakes:
        predicted = self.decided(values)
        # How far the probabilities are from 0 and 1, as they should be.
        off = np.abs(values - targets).mean(axis=1)

        def told(row: int) -> tuple[str, str, str]:
            label, prediction = (", ".join(self._names_of(flags[row])) or "none" for flags in (targets, predicted))
            return label, prediction, f"{off[row]:.1%}"

        return mistakes(
            (predicted != targets).any(axis=1),
            off,
            told,
            most=most,
            note="test texts with another set of classes than predicted, those first whose probabilities are furthest "
            "off",
            figure="mean distance",
        )

    def showcase(self, values: Floats) -> list[int]:
        """Class by class in turns, those first that the model is surest of."""
        return in_turns(self.foremost(values), values.max(axis=1), len(self.names))

    @property
    def explained(self) -> str:
        return (
            "A set is right where each of its classes is and no other. F1, macro is the mean of the classes' own, "
            "micro that of all decisions together, by text the mean of the texts' own. Label ranking average precision "
            "is 1 where a text's classes are always more probable than all others. Hamming loss is the share of wrong "
            "decisions."
        )

    @property
    def limits(self) -> tuple[str, ...]:
        tuned = ", tuned for F1 on the validation split" if self.asked is None else ""
        return (f"A text has a class from this probability up{tuned}: {self._thresholds()}. It may have none.",)

    @property
    def threshold_note(self) -> str | None:
        if self.threshold == (0.5,) * len(self.names):
            return None
        return f"gives the probabilities alone, and knows no threshold: the run's are {self._thresholds()}"

    def _thresholds(self) -> str:
        if len(set(self.threshold or ())) == 1:
            return f"{(self.threshold or (0.5,))[0]:.3g} for all classes"
        return listed([f"{name} {value:.3g}" for name, value in zip(self.names, self.threshold or (), strict=True)], 20)

    def _names_of(self, flags: np.ndarray) -> tuple[str, ...]:
        return tuple(self.names[number] for number in np.flatnonzero(flags))

    def _named(self, names: tuple[str, ...]) -> Self:
        by_name = self.asked if isinstance(self.asked, dict) else {}
        if unknown := [name for name in by_name if name not in names]:
            raise RecipeError(f"model.head.threshold: {not_among(unknown[0], names)}")
        all_others = self.asked if isinstance(self.asked, float) else 0.5
        return replace(self, names=names, threshold=tuple(by_name.get(name, all_others) for name in names))


def binary_cross_entropy(logits: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
    """Of logits [batch, names] and targets [batch, names] of 0 and 1, the mean over the names; see `Task.loss`."""
    from keras import ops

    return ops.sum(ops.mean(of_flags(logits, targets), axis=-1) * weights), ops.sum(weights)


def _lists(split: str, rows: Sequence[Any], delimiter: str | None, where: Where) -> list[list[Any]]:
    """The labels of each row: of a list, of text with delimiters, or one alone."""
    lists = [_labels(cell, delimiter) for cell in rows]
    odd = [row for row, labels in enumerate(lists) if not all(map(_may_be_label, labels))]
    if odd:
        first = next(label for label in lists[odd[0]] if not _may_be_label(label))
        raise DataError(
            f"{where(split, odd)}: got {first!r:.40} among the labels of a text, expected names or class numbers"
        )
    return [list(dict.fromkeys(labels)) for labels in lists]


def _labels(cell: Any, delimiter: str | None) -> list[Any]:
    if isinstance(cell, str):
        parts = cell.split(delimiter) if delimiter is not None else [cell]
        return [part.strip() for part in parts if part.strip()]
    return cell if isinstance(cell, list) else [cell]


def _may_be_label(label: Any) -> bool:
    return isinstance(label, str | int) and not no_label(label)


def _of_owners(lists: Mapping[str, Sequence[Sequence[Any]]], where: Where) -> Where:
    """What tells where the rows stand that labels are of, by the labels' numbers, all rows' one after another."""

    def of_labels(split: str, labels: Sequence[int]) -> str:
        owners = np.repeat(np.arange(len(lists[split])), [len(row) for row in lists[split]])
        return where(split, np.unique(owners[labels]).tolist())

    return of_labels


def _matrix(lists: Sequence[Sequence[Any]], numbers: np.ndarray, count: int) -> np.ndarray:
    """[rows, count] int32, 1 where a row has the class; `numbers` are those of all rows' labels, one after another."""
    found = np.zeros((len(lists), count), np.int32)
    found[np.repeat(np.arange(len(lists)), [len(row) for row in lists]), numbers] = 1
    return found


def _flags(split: str, rows: Sequence[tuple[Any, ...]], columns: Sequence[str], where: Where) -> np.ndarray:
    """The columns of the classes, [rows, columns] int32; DataError for what is neither 0 nor 1."""
    keys = [[str(cell).strip().lower() for cell in row] for row in rows]
    odd = [(number, place) for number, row in enumerate(keys) for place, key in enumerate(row) if key not in FLAGS]
    if odd:
        told = listed(dict.fromkeys(f"{rows[number][place]!r:.40} in {columns[place]}" for number, place in odd))
        raise DataError(
            f"{where(split, list(dict.fromkeys(number for number, _ in odd)))}: got {told}, expected 1 where the text "
            "has the class of the column, and else 0"
        )
    return np.array([[FLAGS[key] for key in row] for row in keys], np.int32).reshape(len(rows), len(columns))
