"""What every task shows to people of its figures and rows, and what that is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from zoo.score.ranking import Ranking
from zoo.tasks import telling
from zoo.tasks.shown import Kind, Mistakes, Picture, Table, figure

__all__ = ["Rankings", "Shown"]

Rankings = Sequence[Ranking | None]
"""One a class; None where no row or every row is of it."""


class Shown:
    """What a report, a terminal and a model card tell of a task."""

    titles: ClassVar[Mapping[str, str]]
    """Figures that a report shows -> what they are called there, in order."""
    shares: ClassVar[frozenset[str]]
    """Those of them that are shares of 1."""
    amounts: ClassVar[frozenset[str]] = frozenset()
    """Those of them that are in the targets' own unit."""
    headline: ClassVar[tuple[str, ...]]
    """Those that matter most, the first of all first."""
    drawn: ClassVar[tuple[str, ...]]
    """Those that are drawn over the epochs on one axis."""
    commonest: ClassVar[str] = "the commonest answer"
    """What `majority_share` is the share of."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Types of the parts of a text that the answer is about; none where it is about the text."""
        return ()

    @property
    def aim(self) -> str:
        """What the model does with texts, as the end of a sentence that begins with `to`."""
        raise NotImplementedError

    @property
    def listed_names(self) -> str:
        """The names with what they are, as `classes: a, b`."""
        raise NotImplementedError

    def listed_shares(self, targets: Any) -> str:
        """`listed_names`, with the share of these rows that each class has."""
        return self.listed_names

    def never_predicted(self, targets: Any, values: Any) -> list[str]:
        """Classes that rows have, and that none is given; none where there are no classes."""
        return []

    def kind(self, name: str) -> Kind:
        """What a figure is, or an end of its interval."""
        name = name.partition(".")[0].removesuffix("_low").removesuffix("_high")
        return "share" if name in self.shares else "amount" if name in self.amounts else "number"

    def shown(self, name: str, value: float, rows: int | None) -> str:
        """A figure for people, with the digits that so many rows carry."""
        return figure(self.kind(name), value, rows)

    def told(self, figures: Mapping[str, Any]) -> str:
        """The figures of the test split that matter most, in a line; None stands for one that is not finite."""
        rows = figures.get("rows")
        shown = {name: self.shown(name, value, rows) for name, value in figures.items() if value is not None}
        return telling.told(figures, shown, self.headline, commonest=self.commonest, averaged=self.averaged)

    @property
    def averaged(self) -> bool:
        """Whether F1, precision and recall are means over the classes."""
        return False

    def further(self, targets: Any, values: Any) -> dict[str, float]:
        """Figures of the test split that stand in the report alone, by name."""
        return {}

    def rankings(self, targets: Any, values: Any) -> Rankings:
        """How well each class is told from the others; none where there are no classes."""
        return []

    def tables(self, targets: Any, values: Any, *, most: int, rankings: Rankings | None = None) -> list[Table]:
        """Tables of the test split, of at most so many rows; `rankings` where they stand beside the pictures."""
        raise NotImplementedError

    def details(self, targets: Any, values: Any) -> dict[str, Any]:
        """All that the tables have, in plain values."""
        raise NotImplementedError

    def pictures(self, targets: Any, values: Any, rankings: Rankings) -> dict[str, Picture]:
        """What to draw of the test split, by name."""
        raise NotImplementedError

    def occurrences(self, account: Mapping[str, Any]) -> Picture | None:
        """What to draw of `account`, if anything."""
        return None

    def mistakes(self, targets: Any, values: Any, *, most: int) -> Mistakes:
        """Rows that are wrong, the worst first, at most so many."""
        raise NotImplementedError

    def showcase(self, values: Any) -> list[int]:
        """Row numbers in the order in which rows are good examples of what the model tells."""
        raise NotImplementedError

    @property
    def explained(self) -> str:
        """What figures and predictions mean, as sentences of a report."""
        raise NotImplementedError

    @property
    def further_explained(self) -> str:
        """What the figures of `further` mean, likewise."""
        return ""

    @property
    def threshold_note(self) -> str | None:
        """What a program has to be told that knows no threshold, as a sentence without its subject."""
        return None

    @property
    def limits(self) -> tuple[str, ...]:
        """What to know before one uses it, a sentence each."""
        return ()
