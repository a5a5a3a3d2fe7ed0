"""Several tasks at once: each row is of one of them, and every task has outputs of its own for every text.

In come tasks that answer for whole texts; out comes a task that is made of them. Its targets are the number of a row's
task and then what that task has; its outputs, values and names are those of all tasks side by side. Losses add up by
weight, each task seeing the rows that are its own, so that the gradient of a mixed batch is the weighted sum of those
of its parts. Figures go by the names of the tasks, as `imdb.accuracy`, and `mean` is over the one that matters most of
each. What is shown of each is what it shows by itself, under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import RecipeError
from zoo.tasks.joint_prediction import JointPrediction
from zoo.tasks.prediction import Prediction
from zoo.tasks.shown import Column, Kind, Mistake, Mistakes, Picture, Table
from zoo.tasks.side_by_side import SideBySide
from zoo.tasks.task import COUNTED, Floats, Rankings, Task
from zoo.tasks.telling import merit

__all__ = ["Joint"]

ONE_TASK = ("audit", "evaluate", "explain", "export")
"""Verbs that are for a run of one task."""


@dataclass(frozen=True, kw_only=True)
class Joint(SideBySide):
    """See `SideBySide`."""

    type: Literal["joint"] = "joint"
    quantity: ClassVar[str] = "value"

    def refuse(self, verb: str) -> None:
        if verb in ONE_TASK:
            raise RecipeError(
                f"zoo.{verb}: got a run of several tasks, expected one of them: add --task NAME (in Python "
                f"run.of_task(NAME)), which is one of {', '.join(self.tasks)}"
            )

    # --- from targets to a trained model

    def account(self, targets: Mapping[str, np.ndarray]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, task in self.tasks.items():
            own = {split: self.own_targets(name, all_[self.own_rows(all_)[name]]) for split, all_ in targets.items()}
            found[name] = {"rows": {split: len(rows) for split, rows in own.items()}, **task.account(own)}
        return {"label_names": list(self.names), "tasks": found}

    @property
    def units(self) -> int:
        return sum(task.units for task in self.tasks.values())

    @property
    def unit_names(self) -> tuple[str, ...]:
        return tuple(f"{name}.{own}" for name, task in self.tasks.items() for own in task.unit_names)

    @property
    def problem_type(self) -> None:
        return None

    def scaled(self, targets: np.ndarray) -> np.ndarray:
        found = targets.copy()
        for name, rows in self.own_rows(targets).items():
            own = self.tasks[name].scaled(self.own_targets(name, targets[rows])).reshape(len(rows), -1)
            found[rows, 1 : 1 + own.shape[1]] = own
        return found

    @property
    def scale(self) -> tuple[Floats, Floats] | None:
        scales = [task.scale for task in self.tasks.values()]
        if not any(scales):
            return None
        plain = [(np.ones(task.units), np.zeros(task.units)) for task in self.tasks.values()]
        each = [own or other for own, other in zip(scales, plain, strict=True)]
        return np.concatenate([factor for factor, _ in each]), np.concatenate([offset for _, offset in each])

    def unscaled(self) -> Self:
        return replace(self, tasks={name: task.unscaled() for name, task in self.tasks.items()})

    @property
    def target(self) -> np.ndarray:
        return np.zeros(1 + self._width, np.float32)

    def groups(self, targets: np.ndarray) -> NDArray[np.int64]:
        """The number of each row's task, [rows]."""
        found: NDArray[np.int64] = targets[:, 0].astype(np.int64)
        return found

    def counted(self, targets: np.ndarray, weights: np.ndarray) -> float:
        return sum(
            self.weights[name] * self.tasks[name].counted(self.own_targets(name, targets[rows]), weights[rows])
            for name, rows in self.own_rows(targets).items()
        )

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """The weighted sum of the tasks' own losses over their own rows; see `Task.loss`."""
        from keras import ops

        sums, counts = [], []
        for number, (name, task) in enumerate(self.tasks.items()):
            own = ops.cast(ops.equal(targets[:, 0], number), "float32")
            blank = task.target
            # What other tasks have there could be anything, and is to be no class and no number.
            given = targets[:, 1 : 1 + max(1, blank.size)] * ops.expand_dims(own, -1)
            given = ops.cast(given if blank.ndim else given[:, 0], str(blank.dtype))
            total, count = task.loss(outputs[:, self.own_units(name)], given, weights * own)
            sums.append(self.weights[name] * total)
            counts.append(self.weights[name] * count)
        return sum(sums[1:], sums[0]), sum(counts[1:], counts[0])

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]:
        found: dict[str, dict[str, float]] = {}
        for name, rows in self.own_rows(targets).items():
            task, own = self.tasks[name], self.own_targets(name, targets[rows])
            hits = task.hits(outputs[rows, self.own_units(name)], own, weights[rows]) if len(rows) else {}
            found[name] = {**hits, COUNTED: task.counted(own, weights[rows])}
        return self._by_task(found)

    def means(self, hits: Mapping[str, float], counted: float) -> dict[str, float]:
        """Of each task over its own rows; nothing of one that none was of."""
        found = {}
        for key, total in hits.items():
            name, _, figure = key.partition(".")
            count = hits[f"{name}.{COUNTED}"]
            if figure != COUNTED and count:
                found[key] = total / count
        return found

    # --- from outputs to what is said of them

    def values(self, outputs: ArrayLike) -> Floats:
        given = np.asarray(outputs)
        return np.concatenate(
            [task.values(given[:, self.own_units(name)]) for name, task in self.tasks.items()], axis=1
        )

    def foremost(self, values: Floats) -> NDArray[np.int64]:
        """What the first task speaks of first."""
        name = next(iter(self.tasks))
        return self.tasks[name].foremost(self.own_values(name, values))

    def direction(self, number: int) -> NDArray[np.float32]:
        found = np.zeros(self.units, np.float32)
        name, _, own = self.names[number].partition(".")
        task = self.tasks[name]
        found[self.own_units(name)] = task.direction(task.names.index(own))
        return found

    def tuned(self, values: Floats, targets: ArrayLike) -> Self:
        tuned = {name: task.tuned(own, truth) for name, task, truth, own, _ in self._each(np.asarray(targets), values)}
        return replace(self, tasks={**self.tasks, **tuned})

    def untuned(self, targets: ArrayLike) -> str | None:
        truth = np.asarray(targets)
        each = {
            name: self.tasks[name].untuned(self.own_targets(name, truth[rows]))
            for name, rows in self.own_rows(truth).items()
        }
        return "; ".join(f"{name}: {told}" for name, told in each.items() if told is not None) or None

    def figures(self, values: Floats, targets: ArrayLike) -> dict[str, float]:
        """Those of each task by its name; `mean`, of the figure that matters most of each, where all have it; and the
        loss of all rows by weight."""
        truth = np.asarray(targets)
        found, merits = dict[str, dict[str, float]](), list[float | None]()
        for name, task, given, own, _ in self._each(truth, values):
            found[name] = task.figures(own, given)
            merits.append(merit(found[name], task.headline, task.shares)[1])
        known = [value for value in merits if value is not None]
        whole = {"mean": float(np.mean(known))} if len(known) == len(self.tasks) else {}
        weights = [self.weights[name] * len(rows) for name, rows in self.own_rows(truth).items() if name in found]
        losses = [figures["loss"] for figures in found.values()]
        loss = float(np.average(losses, weights=weights))
        return {"rows": len(truth), **whole, "loss": loss, **self._by_task(found)}

    def predictions(self, values: Floats) -> list[Prediction]:
        each = [task.predictions(self.own_values(name, values)) for name, task in self.tasks.items()]
        return [JointPrediction(answers=dict(zip(self.tasks, row, strict=True))) for row in zip(*each, strict=True)]

    def rows(self, ids: Sequence[str], targets: ArrayLike, values: ArrayLike) -> Iterator[dict[str, Any]]:
        """Each as its own task has it, and with that task's name."""
        truth, given = np.asarray(targets), np.asarray(values, dtype=np.float64)
        found: dict[int, dict[str, Any]] = {}
        for name, task, own, said, rows in self._each(truth, given):
            told = task.rows([ids[row] for row in rows], own, said)
            found |= {int(row): {"id": each["id"], "task": name, **each} for row, each in zip(rows, told, strict=True)}
        return (found[row] for row in range(len(truth)))

    def label(self, target: Any) -> str | list[str] | dict[str, float]:
        name = list(self.tasks)[int(target[0])]
        return self.tasks[name].label(self.own_targets(name, target[None])[0])

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, Floats]:
        """The values of other tasks than a row's own are not known, and NaN."""
        numbers = {name: number for number, name in enumerate(self.tasks)}
        targets = np.zeros((len(rows), 1 + self._width))
        targets[:, 0] = [numbers[row["task"]] for row in rows]
        values = np.full((len(rows), len(self.names)), np.nan)
        for name, chosen in self.own_rows(targets).items():
            if len(chosen):
                own, said = self.tasks[name].of_rows([rows[row] for row in chosen])
                flat = own.reshape(len(own), -1)
                targets[chosen, 1 : 1 + flat.shape[1]] = flat
                values[chosen, self._places(name, lambda task: len(task.names))] = said
        return targets, values

    # --- what is shown to people

    @property
    def titles(self) -> Mapping[str, str]:  # type: ignore[override]  # of other tasks it is that of the class
        own = {
            name: {key: f"{name}: {title}" for key, title in task.titles.items()} for name, task in self.tasks.items()
        }
        return {"mean": "mean of the tasks", "loss": "loss, by weight", **self._by_task(own)}

    @property
    def shares(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"mean", *self._figures(lambda task: task.shares)})

    @property
    def amounts(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset(self._figures(lambda task: task.amounts))

    @property
    def falling(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"loss", *self._figures(lambda task: task.falling)})

    @property
    def headline(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("mean", *self._figures(lambda task: task.headline[:2]))

    @property
    def drawn(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("mean", *self._figures(lambda task: task.drawn[:1]))

    def kind(self, name: str) -> Kind:
        task, _, own = name.partition(".")
        return self.tasks[task].kind(own) if task in self.tasks else super().kind(name)

    def _figures(self, of: Callable[[Task], Iterable[str]]) -> tuple[str, ...]:
        return tuple(f"{name}.{figure}" for name, task in self.tasks.items() for figure in of(task))

    def _told(self, of: Callable[[Task], str]) -> str:
        return "; ".join(f"{name}: {of(task)}" for name, task in self.tasks.items())

    @property
    def aim(self) -> str:
        return f"do {len(self.tasks)} things with a text at once: {self._told(lambda task: task.aim)}"

    @property
    def listed_names(self) -> str:
        return self._told(lambda task: task.listed_names)

    def listed_shares(self, targets: np.ndarray) -> str:
        return "; ".join(
            f"{name}: {len(rows):,} rows, {self.tasks[name].listed_shares(self.own_targets(name, targets[rows]))}"
            for name, rows in self.own_rows(targets).items()
        )

    def never_predicted(self, targets: np.ndarray, values: Floats) -> list[str]:
        return [
            f"{name}.{missed}"
            for name, task, truth, own, _ in self._each(targets, values)
            for missed in task.never_predicted(truth, own)
        ]

    def told(self, figures: Mapping[str, Any]) -> str:
        parts = [f"mean {self.shown('mean', figures['mean'], figures.get('rows'))}"] if "mean" in figures else []
        for name, task in self.tasks.items():
            start = f"{name}."
            own = {key.removeprefix(start): value for key, value in figures.items() if key.startswith(start)}
            parts.append(f"{name}: {task.told(own)}")
        return "; ".join(parts)

    def further(self, targets: np.ndarray, values: Floats) -> dict[str, float]:
        return self._by_task(
            {name: task.further(own, said) for name, task, own, said, _ in self._each(targets, values)}
        )

    def tables(
        self, targets: np.ndarray, values: Floats, *, most: int, rankings: Rankings | None = None
    ) -> list[Table]:
        """One with a row a task, and those of each task."""
        found, rows = list[Table](), list[tuple[Any, ...]]()
        for name, task, truth, own, chosen in self._each(targets, values):
            key, value = merit(task.figures(own, truth), task.headline, task.shares)
            rows.append((name, task.type, len(chosen), task.titles[key], value))
            ranked = None if rankings is None else task.rankings(truth, own)
            tables = task.tables(truth, own, most=most, rankings=ranked)
            found += [replace(table, title=f"{name}: {table.title}") for table in tables]
        columns = (
            *(Column(title="task", kind="name"), Column(title="learns", kind="name")),
            *(Column(title="rows", kind="number"), Column(title="figure", kind="name")),
            Column(title="on the test split", kind="number", rows="rows"),
        )
        return [Table(title="By task", columns=columns, rows=tuple(rows)), *found]

    def details(self, targets: np.ndarray, values: Floats) -> dict[str, Any]:
        return {"tasks": {name: task.details(own, said) for name, task, own, said, _ in self._each(targets, values)}}

    def pictures(self, targets: np.ndarray, values: Floats, rankings: Rankings) -> dict[str, Picture]:
        found: dict[str, Picture] = {}
        for name, task, truth, own, _ in self._each(targets, values):
            for key, picture in task.pictures(truth, own, task.rankings(truth, own)).items():
                found[f"{name}_{key}"] = replace(picture, caption=f"{name}. {picture.caption}")
        return found

    def mistakes(self, targets: np.ndarray, values: Floats, *, most: int) -> Mistakes:
        """The worst of each task, those of one after those of another."""
        notes, worst, wrong = list[str](), list[Mistake](), list[int | None]()
        for name, task, truth, own, rows in self._each(targets, values):
            found = task.mistakes(truth, own, most=max(1, most // len(self.tasks)))
            notes.append(f"{name}: {found.note}")
            wrong.append(found.wrong)
            for each in found.worst:
                told = f"{found.figure} {each.figure}"
                worst.append(replace(each, row=int(rows[each.row]), figure=told, label=f"{name}: {each.label}"))
        known = [count for count in wrong if count is not None]
        in_all = sum(known) if len(known) == len(wrong) else None
        return Mistakes(note=" ".join(notes), figure="", wrong=in_all, worst=tuple(worst))

    def showcase(self, values: Floats) -> list[int]:
        """Examples of each task in turns, of the rows of which its values are known."""
        turns = list[list[int]]()
        for name, task in self.tasks.items():
            own = self.own_values(name, values)
            known = np.flatnonzero(np.isfinite(own).all(axis=1))
            turns.append(known[task.showcase(own[known])].tolist() if len(known) else [])
        longest = max(map(len, turns), default=0)
        return list(dict.fromkeys(rows[place] for place in range(longest) for rows in turns if place < len(rows)))

    @property
    def explained(self) -> str:
        each = (f"{name}: {task.explained}" for name, task in self.tasks.items())
        return " ".join(("The mean is over the figure that the table by task has of each.", *each))

    @property
    def limits(self) -> tuple[str, ...]:
        return tuple(f"{name}: {limit}" for name, task in self.tasks.items() for limit in task.limits)
