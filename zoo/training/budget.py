"""What ends a run before its length: in come the recipe's `training.stop` and the run's clock; out comes a reason."""

from __future__ import annotations

from typing import Any

from zoo.models.inference import to_host
from zoo.recipe.training_group import Stop
from zoo.training.checkpoint import Clock


class Budget:
    """Hours and tokens of a run; it ends within a step of either.

    Args:
        stop: what the recipe says; None is no bound.
    """

    def __init__(self, stop: Stop | None) -> None:
        self._hours, self._tokens = (stop.hours, stop.tokens) if stop else (None, None)
        self._last: Any = None

    def spent(self, clock: Clock, seconds: float, loss: Any) -> str | None:
        """Why training ends after this step; None where it goes on.

        Args:
            clock: of the whole run, the step counted.
            seconds: of training, at the time of the call.
            loss: of the step, which may not be computed yet. With a bound on time the one before is waited for, so that
                no more than a step is under way.
        """
        if self._hours is not None:
            if self._last is not None:
                to_host(self._last)
            self._last = loss
            if seconds >= 3600.0 * self._hours:
                return f"{seconds / 3600.0:.3g} hours of training steps, of {self._hours:g} (training.stop.hours)"
        seen = clock.cells - clock.padded_tokens
        if self._tokens is not None and seen >= self._tokens:
            return f"{seen:,} tokens seen, of {self._tokens:,} (training.stop.tokens)"
        return None


def reached(stop: Stop | None, name: str, figure: float, *, falling: bool) -> str | None:
    """Why training ends after an epoch with this figure of validation; `falling`: whether less of it is better."""
    target = stop.target if stop else None
    if target is None or (figure > target if falling else figure < target):
        return None
    return f"{name} {figure:.4g} on validation, the target was {target:g} (training.stop.target)"
