"""All that is known of why a model gives one text its class.

An `Explanation` has attention with its figures, the words' scores by two methods, and how faithful these are. Always of
the float32 model, dropout off, the text alone. Refused: a layer or head that the model does not have (RecipeError).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from zoo.errors import RecipeError
from zoo.explain import attention
from zoo.explain.attribution import Attribution, Completeness
from zoo.explain.deletion import Deletion

__all__ = ["Explanation", "refuse_unknown_head"]


SHOWN = 3
"""Classes in a line."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation:
    """One text, explained.

    tokens: as people read them, [length]. label: what is explained. predicted: what the run answers.
    probabilities: of every class, by name, or numbers; quantity: which of the two, `probability` or `value`. attention:
    [layers, heads, length, length] float32, query by key. gradients, occlusion: the words' scores. deletion: curves by
    method, `integrated_gradients` and `occlusion`.
    """

    text: str
    pair: str | None
    tokens: tuple[str, ...]
    label: str
    predicted: str
    probabilities: dict[str, float]
    quantity: str
    attention: np.ndarray
    gradients: Attribution
    occlusion: Attribution
    deletion: Deletion
    names: tuple[str, ...]
    """The words' own characters, [words], in the order of the scores."""
    unseen: int
    """How many further words the text has, which `tokens.max_length` cuts off."""

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {self.told(value)}" for name, value in self.likeliest(SHOWN))
        return f"Explanation({self.text!r:.60}: why {self.label!r}; {said}; {len(self.names):,} words)"

    @property
    def texts(self) -> tuple[tuple[Literal["text", "pair"], str], ...]:
        """The text, and where there is one the second text, each with what `Word.of` calls it."""
        return (("text", self.text),) if self.pair is None else (("text", self.text), ("pair", self.pair))

    @cached_property
    def entropy(self) -> np.ndarray:
        """How widely each head looks, [layers, heads], nats."""
        return attention.entropy(self.attention)

    @cached_property
    def distance(self) -> np.ndarray:
        """How far each head looks, [layers, heads], tokens."""
        return attention.distance(self.attention)

    @cached_property
    def rollout(self) -> np.ndarray:
        """Of which input tokens each position is made, [layers, length, length]."""
        return attention.rollout(self.attention)

    @property
    def completeness(self) -> Completeness:
        """How well the scores of integrated gradients add up."""
        assert self.gradients.completeness is not None
        return self.gradients.completeness

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before one believes it."""
        found = [] if self.completeness.holds else [self.completeness.told()]
        if self.unseen:
            every = self.unseen + len(self.names)
            found.append(
                f"the model does not see {self.unseen:,} of the {every:,} words: tokens.max_length cuts them off"
            )
        area, by_chance = self.deletion.curves["integrated_gradients"].area, self.deletion.random_area
        if area >= by_chance:
            found.append(
                f"words taken out by integrated gradients lower the {self.quantity} no more than in random order (area "
                f"{area:.3f}, random {by_chance:.3f})"
            )
        return tuple(found)

    def head(self, layer: int | None, head: int | None) -> tuple[np.ndarray, str]:
        """One head's weights [length, length] and what they are called; None is the last layer, and the heads' mean.

        Raises:
            RecipeError: a layer or head that the model does not have.
        """
        layers, heads = self.attention.shape[:2]
        refuse_unknown_head(layers, heads, layer, head)
        layer = layers - 1 if layer is None else layer
        if head is None:
            return self.attention[layer].mean(axis=0), f"layer {layer}, mean of its {heads} heads"
        return self.attention[layer, head], f"layer {layer}, head {head}"

    def told(self, value: float) -> str:
        """A probability or a number, for people."""
        return f"{value:.2%}" if self.quantity == "probability" else f"{value:.4g}"

    def likeliest(self, most: int) -> list[tuple[str, float]]:
        """Name and probability of at most so many classes, in their order: the likeliest, and the explained one."""
        falling = sorted(self.probabilities, key=lambda name: (name != self.label, -self.probabilities[name]))
        kept = set(falling[:most])
        return [(name, share) for name, share in self.probabilities.items() if name in kept]

    def as_json(self) -> dict[str, Any]:
        """All but the attention's weights, in plain values."""
        scores = zip(self.names, self.gradients.words, self.occlusion.words, strict=True)
        done = self.completeness
        return {
            "text": self.text,
            "pair": self.pair,
            "label": self.label,
            "predicted": self.predicted,
            "probabilities": self.probabilities,
            "words": [
                {
                    "word": name,
                    "of": by_gradient.of,
                    "start": by_gradient.start,
                    "end": by_gradient.end,
                    "integrated_gradients": by_gradient.score,
                    "occlusion": by_occlusion.score,
                }
                for name, by_gradient, by_occlusion in scores
            ],
            "completeness": {
                "total": done.total,
                "difference": done.difference,
                "gap": done.gap,
                "steps": done.steps,
                "holds": done.holds,
            },
            "deletion": {
                "shares": self.deletion.random[0].shares.tolist(),
                "probabilities": {key: curve.probabilities.tolist() for key, curve in self.deletion.curves.items()},
                "area": {key: curve.area for key, curve in self.deletion.curves.items()},
                "random_area": self.deletion.random_area,
            },
            "tokens": list(self.tokens),
            "token_scores": np.asarray(self.gradients.tokens).tolist(),
            "attention": {
                "entropy": self.entropy.tolist(),
                "distance": self.distance.tolist(),
                "rollout_of_first_token": self.rollout[:, 0].tolist(),
            },
            "warnings": list(self.warnings),
        }


def refuse_unknown_head(layers: int, heads: int, layer: int | None, head: int | None) -> None:
    """Raise RecipeError for a layer or head, counted from 0, that a model of so many does not have."""
    faults = [
        f"{name}: got {number}, expected 0 to {count - 1}: the model has {count} {name}s"
        for name, number, count in (("layer", layer, layers), ("head", head, heads))
        if number is not None and not 0 <= number < count
    ]
    if faults:
        raise RecipeError(faults)
