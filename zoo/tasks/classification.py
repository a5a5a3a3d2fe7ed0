"""One class a text, by a softmax over all classes or, of two, by one sigmoid unit.

In come labels, logits and class numbers; out come cross-entropy, probabilities, predictions and figures. Refused: what
zoo.tasks.labels refuses, and a binary head on other than two classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import DataError, RecipeError
from zoo.recipe.heads import BinaryHead, ClassifierHead
from zoo.recipe.showing import listed
from zoo.score import calibration, metrics, ranking
from zoo.tasks.by_class import class_table, in_turns, mistakes, ranking_pictures, with_shares
from zoo.tasks.labels import number_labels
from zoo.tasks.losses import of_classes, of_flags, owned
from zoo.tasks.material import Stated
from zoo.tasks.one_class import OneClass
from zoo.tasks.prediction import Prediction
from zoo.tasks.refused import Where, by_number
from zoo.tasks.shown import MOST_CLASSES, Column, Mistakes, Picture, Table
from zoo.tasks.task import Floats, Rankings
from zoo.tasks.telling import LARGE
from zoo.tasks.thresholds import enough, left_alone

__all__ = ["ClassPrediction", "Classification", "sigmoid_cross_entropy", "softmax_cross_entropy"]

UNTUNED = 0.5
"""A threshold that is to be tuned, and cannot be."""


@dataclass(frozen=True, kw_only=True)
class ClassPrediction(Prediction):
    """The class of one text, and the probability of every class, by name."""

    label: str
    probabilities: dict[str, float]

    def fields(self) -> dict[str, Any]:
        return {"label": self.label, "probabilities": self.probabilities}

    def cells(self) -> list[tuple[str, Any]]:
        return [("label", self.label), *self.probabilities.items()]

    def told(self) -> tuple[str, str]:
        return self.label, f"{self.probabilities[self.label]:7.2%}"


@dataclass(frozen=True, kw_only=True)
class Classification(OneClass):
    """Targets are class numbers, [rows] int32.

    head: `classifier` has a logit a class, `binary` one for class 1. threshold: the probability from which a row counts
    as class 1; None takes the most probable class. to_tune: whether validation decides it.
    """

    type: Literal["classification"] = "classification"
    names: tuple[str, ...] = ()
    head: Literal["classifier", "binary"] = "classifier"
    threshold: float | None = None
    to_tune: bool = False

    titles: ClassVar[Mapping[str, str]] = {
        "accuracy": "accuracy",
        "majority_share": "largest class alone",
        "f1": "F1",
        "macro_f1": "F1, macro",
        "precision": "precision",
        "recall": "recall",
        "roc_auc": "area under ROC",
        "average_precision": "average precision",
        "matthews": "Matthews correlation",
        "loss": "loss, nats",
        "expected_calibration_error": "expected calibration error",
        "brier_score": "Brier score",
    }
    falling: ClassVar[frozenset[str]] = frozenset({"loss", "expected_calibration_error", "brier_score"})
    shares: ClassVar[frozenset[str]] = frozenset(titles) - falling - {"matthews"}
    headline: ClassVar[tuple[str, ...]] = ("accuracy", "f1")
    drawn: ClassVar[tuple[str, ...]] = ("accuracy", "f1", "roc_auc")

    # --- from rows to targets

    @classmethod
    def of(cls, head: ClassifierHead | BinaryHead) -> Self:
        if isinstance(head, ClassifierHead):
            return cls()
        if head.threshold == "tune":
            return cls(head="binary", to_tune=True)
        return cls(head="binary", threshold=head.threshold)

    def misfit(self, stated: Stated) -> str | None:
        names = stated.names
        if self.head == "binary" and names is not None and len(names) != 2:
            return f"got binary, expected classifier: the data has {len(names)} classes, not 2"
        if stated.delimiter is not None:
            return f"got {self.head}, expected a head for task: multilabel: a text of the data has any number of labels"
        return None

    def learned(
        self, labels: Mapping[str, Sequence[Any]], stated: Stated, where: Where = by_number
    ) -> tuple[Self, dict[str, np.ndarray]]:
        names, numbers = number_labels(labels, stated.names, stated.numbers, where)
        if fault := self.misfit(replace(stated, names=names)):
            raise RecipeError(f"model.head.type: {fault} ({listed(names, 8)})")
        return replace(self, names=names), numbers

    def refuse_few(self, targets: np.ndarray, parts: tuple[str, ...]) -> None:
        needed = len(parts) + 1
        counts = np.bincount(targets, minlength=len(self.names))
        few = [f"{self.names[number]} ({count})" for number, count in enumerate(counts) if count < needed]
        if few and parts:
            more = f" and {len(few) - 8} more" if len(few) > 8 else ""
            raise DataError(
                f"label: too few rows to keep every class in train and in {' and '.join(parts)}: "
                f"{', '.join(few[:8])}{more}, expected at least {needed} of each; "
                f"add rows, or set data.{parts[0]}.stratify=false"
            )

    # --- from targets to a trained model

    @property
    def units(self) -> int:
        return 1 if self.head == "binary" else len(self.names)

    @property
    def unit_names(self) -> tuple[str, ...]:
        return self.names[1:] if self.head == "binary" else self.names

    @property
    def activation(self) -> Literal["softmax", "sigmoid"]:
        return "sigmoid" if self.head == "binary" else "softmax"

    @property
    def problem_type(self) -> str:
        # A single logit with a sigmoid is to transformers several labels, here one.
        return "multi_label_classification" if self.head == "binary" else "single_label_classification"

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """Cross-entropy in nats; see `Task.loss`."""
        entropy = softmax_cross_entropy if self.head == "classifier" else sigmoid_cross_entropy
        return entropy(outputs, targets, weights)

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]:
        predicted = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0.0
        return {"accuracy": float(weights[predicted == targets].sum())}

    # --- from outputs to what is said of them

    def values(self, outputs: ArrayLike) -> Floats:
        return metrics.probabilities(outputs, self.head)

    def named_values(self, rows: Sequence[Mapping[str, float]]) -> Floats:
        if self.head == "classifier":
            return super().named_values(rows)
        one = np.array([row[self.names[1]] for row in rows])
        return np.stack([1.0 - one, one], axis=1)

    def decided(self, values: Floats) -> NDArray[np.int64]:
        return metrics.predictions(values, self.threshold)

    def foremost(self, values: Floats) -> NDArray[np.int64]:
        return self.decided(values)

    def direction(self, number: int) -> NDArray[np.float32]:
        """Of a binary head the one logit speaks for class 1, and against class 0."""
        if self.head == "binary":
            return np.array([1.0 if number == 1 else -1.0], np.float32)
        return super().direction(number)

    def tuned(self, values: Floats, targets: ArrayLike) -> Self:
        if not self.to_tune:
            return self
        if not enough(np.equal(targets, 1)):
            return replace(self, threshold=UNTUNED, to_tune=False)
        return replace(self, threshold=metrics.tune_threshold(values, targets))

    def untuned(self, targets: ArrayLike) -> str | None:
        short = self.to_tune and not enough(np.equal(targets, 1))
        return left_alone(self.names[1:], f"{UNTUNED:g}") if short else None

    def figures(self, values: Floats, targets: ArrayLike) -> dict[str, float]:
        return metrics.evaluate(values, targets, self.names, self.threshold)

    def predictions(self, values: Floats) -> list[Prediction]:
        return [
            ClassPrediction(label=self.names[label], probabilities=dict(zip(self.names, map(float, row), strict=True)))
            for label, row in zip(self.decided(values), values, strict=True)
        ]

    def rows(self, ids: Sequence[str], targets: ArrayLike, values: ArrayLike) -> Iterator[dict[str, Any]]:
        shares = np.asarray(values, dtype=np.float64)
        for key, label, guess, row in zip(ids, np.asarray(targets), self.decided(shares), shares, strict=True):
            yield {
                "id": key,
                "label": self.label(label),
                "prediction": self.names[guess],
                "probabilities": np.round(row, 8).tolist(),
            }

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, Floats]:
        return self.numbers(rows), np.array([row["probabilities"] for row in rows], dtype=np.float64)

    # --- what is shown to people

    @property
    def aim(self) -> str:
        return f"sort texts into {len(self.names)} classes: {listed(self.names, 20)}"

    def listed_shares(self, targets: np.ndarray) -> str:
        counts = np.bincount(targets, minlength=len(self.names))
        told = f"classes: {listed(with_shares(self.names, counts, len(targets)))}"
        if (largest := counts.max() / len(targets)) > LARGE:
            told += f"; the largest class alone has an accuracy of {largest:.1%}: look at F1 beside it"
        return told

    def never_predicted(self, targets: np.ndarray, values: Floats) -> list[str]:
        return [self.names[number] for number in np.setdiff1d(targets, self.decided(values))]

    @property
    def averaged(self) -> bool:
        return len(self.names) > 2

    def further(self, targets: np.ndarray, values: Floats) -> dict[str, float]:
        return {
            "expected_calibration_error": calibration.reliability(values, targets).error,
            "brier_score": calibration.brier_score(values, targets),
        }

    def rankings(self, targets: np.ndarray, values: Floats) -> Rankings:
        return ranking.rank(values, targets, self.names)

    def tables(
        self, targets: np.ndarray, values: Floats, *, most: int, rankings: Rankings | None = None
    ) -> list[Table]:
        predicted, names = self.decided(values), self.names
        rows = metrics.classification_table(targets, predicted, names)
        found = [class_table(rows, rankings, most)]
        if len(names) > (most if rankings is None else MOST_CLASSES):
            pairs = metrics.confused_pairs(targets, predicted)[: min(most, 20)]
            titles = Column(title="true", kind="name"), Column(title="predicted", kind="name")
            found.append(
                Table(
                    title="Confused most",
                    columns=(*titles, Column(title="rows", kind="number")),
                    rows=tuple((names[true], names[guess], count) for true, guess, count in pairs),
                )
            )
        elif rankings is None:
            counts = self.confusion(targets, values)
            columns = (Column(title=name, kind="number") for name in names)
            found.append(
                Table(
                    title="Confusion",
                    columns=(Column(title="true / predicted", kind="name"), *columns),
                    rows=tuple((name, *row) for name, row in zip(names, counts.tolist(), strict=True)),
                )
            )
        return found

    def pictures(self, targets: np.ndarray, values: Floats, rankings: Rankings) -> dict[str, Picture]:
        found = {
            "confusion_matrix": Picture(
                kind="confusion_matrix",
                arguments=(targets, self.decided(values), self.names),
                caption="Test split: true class by row, predicted class by column",
            ),
            # Of two classes the curves of one say all that those of the other do.
            **ranking_pictures(rankings[len(self.names) == 2 :], len(targets)),
        }
        found["reliability"] = Picture(
            kind="reliability",
            arguments=(calibration.reliability(values, targets),),
            caption="Test split: how often predictions were right, by the probability that the model gave them",
        )
        return found

    def mistakes(self, targets: np.ndarray, values: Floats, *, most: int) -> Mistakes:
        predicted, sure = self.decided(values), values.max(axis=1)
        return mistakes(
            predicted != targets,
            sure,
            lambda row: (self.names[targets[row]], self.names[predicted[row]], f"{sure[row]:.1%}"),
            most=most,
            note="wrong test predictions, the surest first",
            figure="sure to",
        )

    def showcase(self, values: Floats) -> list[int]:
        """Class by class in turns, those first that the model is surest of."""
        return in_turns(self.decided(values), values.max(axis=1), len(self.names))

    @property
    def explained(self) -> str:
        two = len(self.names) == 2
        averaged = f"those of the class {self.names[1]}" if two else "macro averages over the classes"
        return f"F1, precision and recall are {averaged}."

    @property
    def further_explained(self) -> str:
        brier = "of class 1, 0 to 1" if len(self.names) == 2 else "summed over the classes, 0 to 2"
        return (
            "The calibration error is the mean distance between how sure the model was and how often it was right (15 "
            f"bins, Guo et al. 2017), 0 at best; the Brier score is the mean squared error of the probabilities "
            f"({brier}), 0 at best."
        )

    @property
    def limits(self) -> tuple[str, ...]:
        if self.threshold is None:
            return (
                "The most probable class is the answer, however unsure: there is no class for texts that belong to "
                "none.",
            )
        tuned = ", which was tuned for F1 on the validation split" if self.to_tune else ""
        return (
            f"A text counts as {self.names[1]} from a probability of {self.threshold:.4g} up{tuned}. Another use may "
            "want another threshold.",
        )

    @property
    def threshold_note(self) -> str | None:
        if self.threshold in (None, 0.5):
            return None
        return (
            f"gives the probability of {self.names[1]} alone, and knows no threshold: the run calls a text "
            f"{self.names[1]} from {self.threshold:g} up"
        )


def softmax_cross_entropy(logits: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    """Of logits [batch, classes] and labels [batch] int32; see `Task.loss`."""
    from keras import ops

    return ops.sum(of_classes(logits, owned(labels, logits.shape[-1])) * weights), ops.sum(weights)


def sigmoid_cross_entropy(logits: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    """Of logits [batch, 1] and labels [batch] int32, 0 or 1; see `Task.loss`."""
    from keras import ops

    return ops.sum(of_flags(logits[:, 0], labels) * weights), ops.sum(weights)
