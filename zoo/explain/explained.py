"""Explaining a text, and the explanation as one holds it in Python: with its charts, and showing itself in a notebook.

In come a run and a text; out comes an `Explanation`. Refused: see `zoo.explain.subject`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from zoo.explain import explanation, plots
from zoo.explain.attribution import METHODS
from zoo.explain.colouring import behind, pieces
from zoo.explain.deletion import deletion
from zoo.explain.subject import Subject
from zoo.recipe import notebook

if TYPE_CHECKING:
    from zoo.runs.run import Run

__all__ = ["Explanation", "ExplanationPlots", "explain"]

CLASSES = 10


class ExplanationPlots:
    """The charts of an explanation. Each method draws one anew, as a figure of matplotlib's."""

    def __init__(self, of: explanation.Explanation) -> None:
        self._of = of

    def words(self) -> Figure:
        """The words that count most, by both methods."""
        return plots.importance(self._of).figure()

    def deletion(self) -> Figure:
        """What the model says as words are taken out."""
        return plots.deletion(self._of).figure()

    def attention(self, layer: int | None = None, head: int | None = None) -> Figure:
        """Which token looks at which; None is the last layer, and the mean of its heads, both counted from 0."""
        return plots.attention(self._of, layer, head).figure()

    def heads(self) -> Figure:
        """The attention of all heads, a row a layer."""
        return plots.heads(self._of).figure()

    def overview(self) -> Figure:
        """How widely and how far each head looks."""
        return plots.overview(self._of).figure()

    def rollout(self) -> Figure:
        """From which tokens the first position is made, after each layer."""
        return plots.rollout(self._of).figure()


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation(explanation.Explanation):
    """One text, explained; with its charts."""

    @property
    def plot(self) -> ExplanationPlots:
        """Charts, each a matplotlib figure, as `explanation.plot.attention(layer, head)`."""
        return ExplanationPlots(self)

    def _repr_html_(self) -> str:
        """In a notebook: the text, coloured, what the model says, and the words that count most."""
        coloured = "".join(
            '<p style="white-space:pre-wrap;line-height:1.9">'
            + "".join(_span(*piece) for piece in pieces(text, self.gradients.words, of))
            + "</p>"
            for of, text in self.texts
        )
        said = [(name, self.told(value)) for name, value in self.likeliest(CLASSES)]
        key = "blue speaks for it, orange against it, by integrated gradients"
        warned = "".join(notebook.heading("warning", warning) for warning in self.warnings)
        chart = plots.importance(self)
        picture = notebook.picture(chart.png(), chart.title)
        return coloured + notebook.heading(f"why {self.label}", key) + notebook.table(said) + warned + picture


def _span(part: str, share: float | None, score: float | None) -> str:
    """Characters, with their colour behind them; words that the model does not see are pale."""
    pale = ' style="opacity:.5"' if part.strip() else ""
    colour = pale if share is None else f' style="background:{behind(share)}"'
    return f"<span{colour}>{notebook.escaped(part)}</span>"


def explain(run: Run, text: str, pair: str | None = None, *, label: str | None = None) -> Explanation:
    """Why a run gives a text its class.

    Args:
        run: a finished run.
        text: the first text.
        pair: the second text, where the run was trained on pairs.
        label: the class that is explained; None is the one that the run predicts.

    Raises:
        DataError: a text that is empty or has no token.
        RecipeError: a class that the run does not have.
    """
    subject = Subject(run, text, pair, label)
    found = {name: method(subject) for name, method in METHODS.items()}
    return Explanation(
        text=text,
        pair=pair,
        tokens=subject.shown,
        label=subject.label,
        predicted=subject.predicted,
        probabilities=subject.probabilities,
        quantity=run.task.quantity,
        attention=subject.opened.attention(subject.inputs(1)),
        gradients=found["integrated_gradients"],
        occlusion=found["occlusion"],
        deletion=deletion(subject, {name: scores.order for name, scores in found.items()}),
        names=tuple(subject.words_of(subject.spans)),
        unseen=subject.unseen,
    )
