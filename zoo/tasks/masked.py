"""Tokens that were hidden, told from those around them: a masked language model (Devlin et al. 2019).

In come texts without labels, and for each what the model makes of some of its tokens; out come cross-entropy,
perplexity and how many tokens were right. Which tokens are hidden is drawn for each batch (zoo.data.masking), so
targets say nothing, and values are sums over a text's hidden tokens. Nothing is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import RecipeError
from zoo.recipe.heads import MaskedHead
from zoo.score import metrics
from zoo.tasks.losses import NOTHING
from zoo.tasks.material import Stated
from zoo.tasks.prediction import Prediction
from zoo.tasks.refused import Where, by_number
from zoo.tasks.shown import Mistake, Mistakes, Picture, Table
from zoo.tasks.task import Floats, Rankings, Task

__all__ = ["Masked", "surprises"]

MOST_NATS = 700.0
"""Of a loss whose exponential is still a number."""


@dataclass(frozen=True, kw_only=True)
class Masked(Task):
    """Targets are 0 for each text, [texts] int32; values [texts, 3] float64: the sum of the losses of the text's hidden
    tokens in nats, how many they are, and how many of them have the highest score."""

    type: Literal["masked"] = "masked"

    titles: ClassVar[Mapping[str, str]] = {
        "perplexity": "perplexity",
        "accuracy": "hidden tokens told",
        "loss": "loss, nats a token",
    }
    shares: ClassVar[frozenset[str]] = frozenset({"accuracy"})
    headline: ClassVar[tuple[str, ...]] = ("perplexity", "accuracy")
    drawn: ClassVar[tuple[str, ...]] = ("accuracy",)
    falling: ClassVar[frozenset[str]] = frozenset({"loss", "perplexity"})
    quantity: ClassVar[str] = "sum over hidden tokens"
    pipeline: ClassVar[str] = "fill-mask"
    example: ClassVar[str] = "... [MASK] ..."
    each: ClassVar[Literal["text", "token", "place"]] = "place"
    watched: ClassVar[bool] = False
    served_by: ClassVar[Mapping[str, str]] = dict.fromkeys(("predict", "explain", "serve"), "fill")

    # --- from rows to targets

    @classmethod
    def of(cls, head: MaskedHead) -> Self:
        return cls()

    def stated(self, stated: Stated) -> Self | None:
        return self

    def missing(self, label: Any) -> bool:
        return False

    def learned(
        self, labels: Mapping[str, Sequence[Any]], stated: Stated, where: Where = by_number
    ) -> tuple[Self, dict[str, np.ndarray]]:
        return self, {split: self.targets(rows, stated) for split, rows in labels.items()}

    def targets(self, labels: Sequence[Any], stated: Stated, where: Where = by_number) -> np.ndarray:
        return np.zeros(len(labels), np.int32)

    def strata(self, targets: np.ndarray) -> NDArray[np.int64]:
        return np.zeros(len(targets), np.int64)

    def account(self, targets: Mapping[str, np.ndarray]) -> dict[str, Any]:
        return {}

    # --- from targets to a trained model

    @property
    def units(self) -> int:
        """0: as many outputs as the vocabulary has entries."""
        return 0

    @property
    def activation(self) -> Literal["softmax"]:
        return "softmax"

    @property
    def problem_type(self) -> str | None:
        return None

    @property
    def target(self) -> np.ndarray:
        return np.zeros((), np.int32)

    def counted(self, targets: np.ndarray, weights: np.ndarray) -> float:
        return max(NOTHING, float(np.count_nonzero(targets >= 0)))

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """Cross-entropy in nats over hidden tokens.

        Args:
            outputs: scores [batch, places, vocabulary] float32.
            targets: [batch, places] int32, -1 where nothing is predicted.
            weights: [batch] float32; a row that fills the batch up has no targets, and is not looked at.

        Returns:
            The sum, and the number of hidden tokens, or next to nothing where there is none: it may be a part of a
            batch.
        """
        from keras import ops

        losses, there = surprises(outputs, targets)
        return ops.sum(losses), ops.maximum(ops.sum(there), NOTHING)

    # --- from outputs to what is said of them

    def values(self, outputs: ArrayLike) -> Floats:
        return metrics.finite(outputs, 3)

    def decided(self, values: Floats) -> np.ndarray:
        found: np.ndarray = values[:, 2].astype(np.int64)
        return found

    def same(self, first: Floats, second: Floats) -> NDArray[np.bool_]:
        """Whether both find the same entry likeliest, of probabilities [texts, vocabulary] at a mask."""
        found: NDArray[np.bool_] = first.argmax(axis=1) == second.argmax(axis=1)
        return found

    def figures(self, values: Floats, targets: ArrayLike) -> dict[str, float]:
        nats, places, right = values.sum(axis=0).tolist()
        counts = {"rows": len(values), "places": int(places)}
        if not places:
            return {**counts}
        loss = nats / places
        return {
            "accuracy": right / places,
            "loss": loss,
            "perplexity": math.exp(min(loss, MOST_NATS)),
            **counts,
        }

    def predictions(self, values: Floats) -> list[Prediction]:
        raise RecipeError("a masked language model does not answer whole texts, expected text with [MASK]: use fill")

    def rows(self, ids: Sequence[str], targets: ArrayLike, values: ArrayLike) -> Iterator[dict[str, Any]]:
        for key, (nats, places, right) in zip(ids, np.asarray(values).tolist(), strict=True):
            yield {
                "id": key,
                "label": {"places": int(places)},
                "prediction": {"right": int(right)},
                "values": {"nats": round(nats, 8)},
            }

    def label(self, target: Any) -> str:
        """Nothing: texts have no labels."""
        return ""

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, Floats]:
        columns = [(row["values"]["nats"], row["label"]["places"], row["prediction"]["right"]) for row in rows]
        return np.zeros(len(rows), np.int32), np.array(columns, np.float64).reshape(-1, 3)

    # --- what is shown to people

    @property
    def aim(self) -> str:
        return "tell words that were hidden in texts"

    @property
    def listed_names(self) -> str:
        return "no labels are read"

    def tables(
        self, targets: np.ndarray, values: Floats, *, most: int, rankings: Rankings | None = None
    ) -> list[Table]:
        return []

    def details(self, targets: np.ndarray, values: Floats) -> dict[str, Any]:
        return {}

    def pictures(self, targets: np.ndarray, values: Floats, rankings: Rankings) -> dict[str, Picture]:
        if not values[:, 1].any():
            return {}
        return {
            "surprise": Picture(
                kind="histogram",
                arguments=(_by_place(values)[values[:, 1] > 0], "Loss of a text, nats a hidden token"),
                caption="Test split: how surprised the model was by the hidden tokens of each text",
            )
        }

    def mistakes(self, targets: np.ndarray, values: Floats, *, most: int) -> Mistakes:
        losses = _by_place(values)
        worst = np.argsort(-losses, kind="stable")[:most]
        return Mistakes(
            note=f"The {len(worst)} of {len(values):,} test texts whose hidden tokens surprised the model most: a look "
            "here often finds texts in another language, or none.",
            figure="loss",
            wrong=None,
            worst=tuple(
                Mistake(
                    row=int(row),
                    label=f"{int(values[row, 1])} hidden",
                    prediction=f"{int(values[row, 2])} right",
                    figure=f"{losses[row]:.2f} nats a token",
                )
                for row in worst
            ),
        )

    def showcase(self, values: Floats) -> list[int]:
        found: list[int] = np.argsort(_by_place(values), kind="stable").tolist()
        return found

    @property
    def explained(self) -> str:
        return (
            "Some tokens of each text are hidden, the same ones whenever it is evaluated. Perplexity is e to the mean "
            "loss of a hidden token: from how many equally likely tokens the model would have had to choose. It "
            "compares with that of other models of the same vocabulary and the same texts alone."
        )

    @property
    def limits(self) -> tuple[str, ...]:
        return (
            "What it finds likely is what its texts found likely, prejudices included: python -m zoo.bias shows some.",
        )


def _by_place(values: Floats) -> Floats:
    """The mean loss of each text's hidden tokens, 0 where there are none."""
    found: Floats = values[:, 0] / np.maximum(values[:, 1], 1.0)
    return found


def surprises(scores: Any, targets: Any) -> tuple[Any, Any]:
    """Cross-entropy at each place, in nats and 0 where nothing is predicted, and where something is, 1.0 or 0.0.

    Args:
        scores: [batch, places, vocabulary] float32.
        targets: [batch, places] int32, -1 where nothing is predicted.

    Returns:
        Both [batch, places] float32.
    """
    from keras import ops

    there = ops.cast(targets >= 0, "float32")
    own = ops.take_along_axis(scores, ops.expand_dims(ops.maximum(targets, 0), -1), axis=-1)[..., 0]
    return (ops.logsumexp(scores, axis=-1) - own) * there, there
