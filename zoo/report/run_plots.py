"""What a run shows of itself in Python: matplotlib figures, and itself in a notebook.

In comes a run folder; out come the charts of its report, by name, and HTML without a script. Nothing is written, and
neither the model nor a backend is loaded. Refused: a chart that there is nothing to draw of (OutputError).
"""

from __future__ import annotations

from matplotlib.figure import Figure

from zoo.errors import OutputError
from zoo.recipe import notebook
from zoo.recipe.showing import listed
from zoo.report.report import charts, figures_by_split
from zoo.runs.run_folder import RunFolder

__all__ = ["RunPlots", "in_notebook"]

INLINE = ("curves", "confusion_matrix", "predicted", "labels")
"""Of the pictures that the report has drawn, those that a notebook shows, two at most."""


class RunPlots:
    """The charts of a run. Each method draws one anew, as a figure of matplotlib's that one may change and save; those
    of the task raise OutputError where the run has none."""

    def __init__(self, folder: RunFolder) -> None:
        tested = folder.tested(folder.predictions)
        rankings = folder.task.rankings(*tested) if tested else []
        self._path = folder.path
        self._charts, _ = charts(folder.run, folder.history, folder.task, tested, rankings)

    def __repr__(self) -> str:
        return f"RunPlots({str(self._path)!r}): {listed(self._charts, len(self._charts))}"

    def curves(self) -> Figure:
        """Loss, the figures that matter most and the learning rate, over the steps."""
        return self._figure("curves")

    def confusion_matrix(self) -> Figure:
        """How often each class, or level, was taken for each."""
        return self._figure("confusion_matrix")

    def reliability(self) -> Figure:
        """How often the model was right, by how sure it was."""
        return self._figure("reliability")

    def precision_recall(self) -> Figure:
        """Precision over recall, of class 1 or of each class against the rest."""
        return self._figure("precision_recall")

    def roc(self) -> Figure:
        """True positive rate over false positive rate, likewise."""
        return self._figure("roc")

    def labels(self) -> Figure:
        """How often each class occurs in each split."""
        return self._figure("labels")

    def lengths(self) -> Figure:
        """How long the training texts are, in tokens."""
        return self._figure("lengths")

    def time(self) -> Figure:
        """Where the time went."""
        return self._figure("time")

    def predicted(self, number: int | None = None) -> Figure:
        """Predicted numbers by the true ones; of several, `number` counts them from 1."""
        return self._figure("predicted" if number is None else f"predicted_{number}")

    def residuals(self, number: int | None = None) -> Figure:
        """How far predicted numbers are off, likewise."""
        return self._figure("residuals" if number is None else f"residuals_{number}")

    def _figure(self, name: str) -> Figure:
        if name not in self._charts:
            has = listed(self._charts, len(self._charts)) or "nothing to draw"
            raise OutputError(f"{self._path} has no chart {name!r}, expected one of what it has: {has}")
        return self._charts[name]().figure()


def in_notebook(folder: RunFolder) -> str:
    """A run as a notebook shows it: what it is, its figures, and the first pictures of its report."""
    run, task = folder.run, folder.task
    splits, rows = figures_by_split(run, task)
    told = f"{run.get('status')}; {run.get('backend')} on {run.get('device')}; made to {task.aim}"
    files = [path for name in INLINE if (path := folder.path / "plots" / f"{name}.png").is_file()]
    pictures = "".join(notebook.picture(path.read_bytes(), path.stem) for path in files[:2])
    return notebook.heading(folder.path, told) + notebook.table(rows, ("", *splits)) + pictures
