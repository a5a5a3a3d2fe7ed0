"""When checkpoints are written within an epoch, and by whom: a thread, while training goes on.

In come states of a run, copied to the host; out they go to the disk, one after the other. What goes wrong there is
raised in the training loop: when it next asks whether a checkpoint is due, or waits. Nothing else is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from zoo.recipe.training_group import Saves
from zoo.training.checkpoint import Checkpoints, State

__all__ = ["Saving"]


class Saving:
    """The writing of a run's checkpoints; as a context manager it ends with the last one written.

    Args:
        checkpoints: where they are written.
        every: how often within an epoch.
        step: steps of the run that are done, and saved.
        before: called before each is written, as the rows of history up to it have to be on the disk first.
    """

    def __init__(self, checkpoints: Checkpoints, every: Saves, *, step: int, before: Callable[[], None]) -> None:
        self._checkpoints, self._every, self._before = checkpoints, every, before
        self._step, self._at = step, time.monotonic()
        self._thread: threading.Thread | None = None
        self._wrong: Exception | None = None

    @property
    def writing(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def behind(self, step: int) -> bool:
        """Whether steps are done that no checkpoint has."""
        return step > self._step

    def due(self, step: int) -> bool:
        """Whether it is time for a checkpoint after this step; not while one is being written, which holds up nobody.

        Raises what went wrong in writing the last one.
        """
        if self.writing:
            return False
        self._raise()
        if not self.behind(step):
            return False
        steps, minutes = self._every.steps, self._every.minutes
        return (steps is not None and step - self._step >= steps) or (
            minutes is not None and time.monotonic() - self._at >= 60.0 * minutes
        )

    def save(self, state: State, kept: Sequence[int]) -> None:
        """Have a state written, once the one before is; see `Checkpoints.write`."""
        self.wait()
        self._before()
        self._step, self._at = state.progress.step, time.monotonic()

        def write() -> None:
            try:
                self._checkpoints.write(state, kept)
            except Exception as error:  # noqa: BLE001  # it belongs to the training loop
                self._wrong = error

        self._thread = threading.Thread(target=write, name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Until what is to be written is on the disk; raises what went wrong."""
        if self._thread is not None:
            self._thread.join()
        self._raise()

    def _raise(self) -> None:
        wrong, self._wrong = self._wrong, None
        if wrong is not None:
            raise wrong

    def __enter__(self) -> Saving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        except Exception as second:
            if error is None:
                raise
            error.add_note(str(second))
