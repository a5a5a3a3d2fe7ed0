"""Losses: what one row, word, class or answer costs.

In come logits of the active backend, and which class is whose; out come losses in nats. Of a text's one class `own` has
the true one of each place, `owned`; where a text may have several, `flags` are 1 for those that it has and 0 for the
others. Nothing is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from zoo.recipe.learning import Focal, LabelSmoothing

__all__ = [
    "BITS",
    "END",
    "NOTHING",
    "START",
    "CrossEntropy",
    "Focused",
    "Form",
    "Smoothed",
    "form_of",
    "of_classes",
    "of_flags",
    "owned",
    "span_loss",
]

NOTHING = 1e-9
"""The count of a batch in which no token has a label, so that its mean loss is 0."""
START, END = 1, 2
"""Bits of the target of a token with which an answer begins, or ends."""
BITS = ((0, START), (1, END))
"""Column of the outputs, and the bit of its target."""
FAR = 1e9
"""What is taken off a logit to leave it out of a sum of powers; finite, so that a gradient is."""


def owned(labels: Any, classes: int) -> Any:
    """[..., classes] bool: whether a class is the one of labels [...] int32; none is of a label below 0."""
    from keras import ops

    # Not ops.one_hot, which on torch reads the labels back to look whether they are small enough.
    return ops.equal(ops.expand_dims(labels, -1), ops.arange(classes, dtype=labels.dtype))


def of_classes(logits: Any, own: Any) -> Any:
    """Cross-entropy [...] of logits [..., classes], where `own` as `owned` has it."""
    from keras import ops

    return ops.logsumexp(logits, axis=-1) - ops.sum(logits * ops.cast(own, logits.dtype), axis=-1)


def of_flags(logits: Any, flags: Any) -> Any:
    """Binary cross-entropy of each logit; flags are 0 or 1, of the same shape."""
    from keras import ops

    return ops.softplus(logits) - logits * ops.cast(flags, logits.dtype)


def span_loss(outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
    """Of logits [batch, length, 2] and targets [batch, length] with the bits START and END, -1 where a token does not
    count; see `Task.loss`."""
    from keras import ops

    real = targets >= 0
    found = 0.0
    for column, bit in BITS:
        logits = ops.where(real, outputs[:, :, column], -FAR)
        there = ops.cast(ops.logical_and(real, (targets // bit) % 2 == 1), logits.dtype)
        found += ops.logsumexp(logits, axis=-1) - ops.sum(logits * there, axis=-1)
    return ops.sum(found / 2 * weights), ops.sum(weights)


class Form(Protocol):
    """A loss: what a row or a word costs whose class is one of several, and what a class does that is there or not."""

    def of_classes(self, logits: Any, own: Any) -> Any:
        """[...], of logits and own [..., classes]."""

    def of_flags(self, logits: Any, flags: Any) -> Any:
        """Of each logit; flags have the same shape."""


@dataclass(frozen=True)
class CrossEntropy:
    """The plain one."""

    def of_classes(self, logits: Any, own: Any) -> Any:
        return of_classes(logits, own)

    def of_flags(self, logits: Any, flags: Any) -> Any:
        return of_flags(logits, flags)


@dataclass(frozen=True)
class Smoothed:
    """Cross-entropy to targets of which a share is spread over all classes alike (Szegedy et al. 2016, section 7)."""

    share: float

    def of_classes(self, logits: Any, own: Any) -> Any:
        """As torch's CrossEntropyLoss(label_smoothing) has it."""
        from keras import ops

        of_all = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
        return (1.0 - self.share) * of_classes(logits, own) + self.share * of_all

    def of_flags(self, logits: Any, flags: Any) -> Any:
        """Each class is one of two values."""
        from keras import ops

        return of_flags(logits, ops.cast(flags, logits.dtype) * (1.0 - self.share) + 0.5 * self.share)


@dataclass(frozen=True)
class Focused:
    """Cross-entropy times the power of what the true class lacks in probability, (1 - p)^gamma: what is sure counts
    less (Lin et al. 2017, Focal Loss for Dense Object Detection, section 3.2)."""

    gamma: float

    # The power is taken of the logarithm: of a probability that is 1 it would have no finite gradient below gamma 1.

    def of_classes(self, logits: Any, own: Any) -> Any:
        from keras import ops

        others = ops.logsumexp(logits - FAR * ops.cast(own, logits.dtype), axis=-1)
        lacking = others - ops.logsumexp(logits, axis=-1)
        return ops.exp(self.gamma * lacking) * of_classes(logits, own)

    def of_flags(self, logits: Any, flags: Any) -> Any:
        from keras import ops

        towards = logits * (2.0 * ops.cast(flags, logits.dtype) - 1.0)
        return ops.exp(-self.gamma * ops.softplus(towards)) * ops.softplus(-towards)


def form_of(asked: LabelSmoothing | Focal | None) -> Form:
    """The loss that a recipe's `training.loss` asks for."""
    if isinstance(asked, LabelSmoothing):
        return Smoothed(asked.smoothing)
    return CrossEntropy() if asked is None else Focused(asked.gamma)
