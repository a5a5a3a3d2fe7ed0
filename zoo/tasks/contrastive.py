"""Texts of one class near each other, and far from others: contrastive fine-tuning in SetFit's way (Tunstall et al.
2022).

In come labels of classes, as classification reads them, and embeddings; out come the loss of all pairs of a batch, and
how well embeddings tell classes apart. What was learned is a backbone, with which another run or stage begins. Refused:
what zoo.tasks.labels refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import RecipeError
from zoo.recipe.heads import ContrastiveHead
from zoo.recipe.showing import listed
from zoo.score import metrics, similarity
from zoo.tasks.by_class import class_table, mistakes, with_shares
from zoo.tasks.labels import number_labels
from zoo.tasks.losses import NOTHING
from zoo.tasks.material import Stated
from zoo.tasks.one_class import OneClass
from zoo.tasks.prediction import Prediction
from zoo.tasks.refused import Where, by_number
from zoo.tasks.shown import Mistakes, Picture, Table
from zoo.tasks.task import Floats, Rankings

__all__ = ["Contrastive", "Nearness", "cosine_similarity_loss"]

ROUNDING = 1e-5
"""Share of the squared weights of a batch below which those of its pairs are what is left of rounding."""


@dataclass(frozen=True, kw_only=True)
class Nearness:
    """What predictions.jsonl keeps of embeddings: the cosine of each text to the mean of the other texts of each class,
    [texts, classes]."""

    cosines: Floats

    def __len__(self) -> int:
        return len(self.cosines)


@dataclass(frozen=True, kw_only=True)
class Contrastive(OneClass):
    """Targets are class numbers, [rows] int32; values embeddings, [rows, hidden] float64 of length 1, or of a finished
    run their `Nearness`."""

    type: Literal["contrastive"] = "contrastive"

    titles: ClassVar[Mapping[str, str]] = {
        "accuracy": "nearest to their own class",
        "majority_share": "largest class alone",
        "same_cosine": "cosine within a class",
        "other_cosine": "cosine between classes",
        "loss": "loss, squared cosine",
    }
    shares: ClassVar[frozenset[str]] = frozenset({"accuracy", "majority_share"})
    headline: ClassVar[tuple[str, ...]] = ("accuracy", "same_cosine", "other_cosine")
    drawn: ClassVar[tuple[str, ...]] = ("accuracy", "same_cosine", "other_cosine")
    falling: ClassVar[frozenset[str]] = frozenset({"loss", "other_cosine"})
    quantity: ClassVar[str] = "cosine"
    answers: ClassVar[bool] = False
    watched: ClassVar[bool] = False

    # --- from rows to targets

    @classmethod
    def of(cls, head: ContrastiveHead) -> Self:
        return cls()

    def misfit(self, stated: Stated) -> str | None:
        if stated.delimiter is not None:
            return "got contrastive, expected a head for task: multilabel: a text of the data has any number of labels"
        return None

    def learned(
        self, labels: Mapping[str, Sequence[Any]], stated: Stated, where: Where = by_number
    ) -> tuple[Self, dict[str, np.ndarray]]:
        names, numbers = number_labels(labels, stated.names, stated.numbers, where)
        if fault := self.misfit(stated):
            raise RecipeError(f"model.head.type: {fault}")
        return replace(self, names=names), numbers

    # --- from targets to a trained model

    @property
    def units(self) -> int:
        """0: as many outputs as the backbone is wide."""
        return 0

    @property
    def activation(self) -> Literal["linear"]:
        return "linear"

    @property
    def problem_type(self) -> None:
        return None

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """See `cosine_similarity_loss`."""
        return cosine_similarity_loss(outputs, targets, weights)

    # --- from outputs to what is said of them

    def values(self, outputs: ArrayLike) -> Floats:
        found = np.asarray(outputs, np.float64)
        metrics.refuse_not_finite(found, "embeddings")
        return found

    def decided(self, values: Nearness) -> NDArray[np.int64]:
        found: NDArray[np.int64] = values.cosines.argmax(axis=1)
        return found

    def figures(self, values: Floats | Nearness, targets: ArrayLike) -> dict[str, float]:
        """Of a finished run's `Nearness`, which says nothing of pairs, the share that is nearest alone."""
        truth = np.asarray(targets)
        if isinstance(values, Nearness):
            found = {"rows": len(truth), "accuracy": float((self.decided(values) == truth).mean())}
        else:
            found = similarity.evaluate(values, truth, len(self.names))
        return {**found, "majority_share": self.majority(truth)}

    def predictions(self, values: Floats) -> list[Prediction]:
        self.refuse("predict")
        raise AssertionError

    def rows(self, ids: Sequence[str], targets: ArrayLike, values: ArrayLike) -> Iterator[dict[str, Any]]:
        near = self._near(np.asarray(targets), np.asarray(values))
        told = zip(ids, np.asarray(targets), self.decided(near), np.round(near.cosines, 8).tolist(), strict=True)
        for key, label, guess, cosines in told:
            yield {"id": key, "label": self.label(label), "prediction": self.names[guess], "cosines": cosines}

    def confusion(self, targets: np.ndarray, values: Floats | Nearness) -> NDArray[np.int64]:
        return super().confusion(targets, self._near(targets, values))

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, Nearness]:
        return self.numbers(rows), Nearness(cosines=np.array([row["cosines"] for row in rows], np.float64))

    def _near(self, targets: np.ndarray, values: Floats | Nearness) -> Nearness:
        if isinstance(values, Nearness):
            return values
        return Nearness(cosines=similarity.to_classes(values, targets, len(self.names)))

    # --- what is shown to people

    @property
    def aim(self) -> str:
        return f"bring texts of one class near each other, of {len(self.names)} classes: {listed(self.names, 20)}"

    def listed_shares(self, targets: np.ndarray) -> str:
        counts = np.bincount(targets, minlength=len(self.names))
        return f"classes: {listed(with_shares(self.names, counts, len(targets)))}"

    def tables(
        self, targets: np.ndarray, values: Floats | Nearness, *, most: int, rankings: Rankings | None = None
    ) -> list[Table]:
        return [class_table(self.details(targets, values)["classes"], None, most, "By class, the nearest one")]

    def details(self, targets: np.ndarray, values: Floats | Nearness) -> dict[str, Any]:
        return super().details(targets, self._near(targets, values))

    def pictures(self, targets: np.ndarray, values: Nearness, rankings: Rankings) -> dict[str, Picture]:
        return {
            "confusion_matrix": Picture(
                kind="confusion_matrix",
                arguments=(targets, self.decided(values), self.names),
                caption="Test split: the class of texts by row, the class that they are nearest to by column",
            )
        }

    def mistakes(self, targets: np.ndarray, values: Nearness, *, most: int) -> Mistakes:
        nearest, rows = self.decided(values), np.arange(len(targets))
        nearer = values.cosines[rows, nearest] - values.cosines[rows, targets]
        return mistakes(
            nearest != targets,
            nearer,
            lambda row: (self.names[targets[row]], self.names[nearest[row]], f"{nearer[row]:.2f}"),
            most=most,
            note="test texts that are nearest to another class, those first that are furthest from their own",
            figure="nearer by",
        )

    def showcase(self, values: Nearness) -> list[int]:
        return list(range(len(values)))

    @property
    def explained(self) -> str:
        return (
            "A text is nearest to the class to whose other texts of the same split its cosine is largest, to their "
            "mean. The loss is the squared difference of cosines from 1 within a class and from 0 between classes, "
            "over all pairs of texts; both kinds count alike."
        )

    @property
    def limits(self) -> tuple[str, ...]:
        return ("It has no answer for a text: its backbone is what another run or stage begins with.",)


def cosine_similarity_loss(embeddings: Any, classes: Any, weights: Any) -> tuple[Any, Any]:
    """The squared difference of the cosine of two rows from 1, where they have the same class, or from 0, over all
    pairs of a batch; pairs of both kinds count alike together, as SetFit draws as many of each.

    Args:
        embeddings: [batch, hidden] of length 1.
        classes: [batch] int32.
        weights: [batch] float32; a pair weighs their product.

    Returns:
        The mean by the sum of weights, and that sum. Of a batch without pairs of one kind the mean is that of the other
        kind, without any pair 0.

    Source: Reimers and Gurevych 2019, CosineSimilarityLoss; Tunstall et al. 2022, section 3.1, for the pairs.
    """
    from keras import ops

    kind = embeddings.dtype
    cosines = ops.matmul(embeddings, ops.transpose(embeddings))
    same = ops.cast(ops.equal(ops.expand_dims(classes, 0), ops.expand_dims(classes, 1)), kind)
    pairs = ops.expand_dims(weights, 0) * ops.expand_dims(weights, 1)
    # A row beside itself has the cosine 1, no loss and no gradient: it is left out of the count alone.
    alone = ops.sum(ops.square(weights))
    of_same = pairs * same
    weigh_same = ops.sum(of_same) - alone
    of_other = pairs * (1.0 - same)
    weigh_other = ops.sum(of_other)
    total, kinds = 0.0, 0.0
    for off, each, weigh in ((cosines - 1.0, of_same, weigh_same), (cosines, of_other, weigh_other)):
        there = ops.cast(weigh > ROUNDING * alone, kind)
        total = total + there * ops.sum(ops.square(off) * each) / ops.maximum(weigh, NOTHING)
        kinds = kinds + there
    count = ops.sum(weights)
    return total / ops.maximum(kinds, 1.0) * count, count
