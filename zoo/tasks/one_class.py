"""What tasks have alike whose texts have one class each.

In come labels; out come class numbers, and what is counted and shown of them. Refused: what labels.py refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from zoo.recipe.showing import listed
from zoo.score import metrics
from zoo.tasks.by_class import class_occurrences
from zoo.tasks.labels import numbers_of
from zoo.tasks.material import Stated
from zoo.tasks.refused import Where, by_number
from zoo.tasks.shown import Picture
from zoo.tasks.task import Task

__all__ = ["OneClass"]


@dataclass(frozen=True, kw_only=True)
class OneClass(Task):
    """Targets are class numbers, [rows] int32."""

    commonest: ClassVar[str] = "the largest class"
    exclusive: ClassVar[bool] = True
    least: ClassVar[int] = 1

    def stated(self, stated: Stated) -> Self | None:
        return None if stated.names is None else replace(self, names=stated.names)

    def targets(self, labels: Sequence[Any], stated: Stated, where: Where = by_number) -> np.ndarray:
        return numbers_of(labels, self.names, stated.numbers, where)

    def strata(self, targets: np.ndarray) -> NDArray[np.int64]:
        return targets.astype(np.int64)

    def account(self, targets: Mapping[str, np.ndarray]) -> dict[str, Any]:
        counts = {split: np.bincount(numbers, minlength=len(self.names)).tolist() for split, numbers in targets.items()}
        return {"label_names": list(self.names), "label_counts": counts}

    @property
    def target(self) -> np.ndarray:
        return np.zeros((), np.int32)

    def label(self, target: Any) -> str:
        return self.names[int(target)]

    def numbers(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Targets of rows of predictions.jsonl."""
        number = {name: index for index, name in enumerate(self.names)}
        return np.array([number[row["label"]] for row in rows], np.int32)

    def confusion(self, targets: np.ndarray, values: Any) -> NDArray[np.int64]:
        return metrics.confusion(targets, self.decided(values), range(len(self.names)))

    def details(self, targets: np.ndarray, values: Any) -> dict[str, Any]:
        return {
            "classes": metrics.classification_table(targets, self.decided(values), self.names),
            "confusion": self.confusion(targets, values).tolist(),
        }

    @property
    def listed_names(self) -> str:
        return f"classes: {listed(self.names)}"

    def occurrences(self, account: Mapping[str, Any]) -> Picture | None:
        return class_occurrences(account, self.names)
