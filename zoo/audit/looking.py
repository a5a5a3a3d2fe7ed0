"""The data of a run, looked through for what there is to doubt.

In comes a run folder; out comes an `Audit`. The run's rows are read from its data again. Refused: data that have
changed since the run (DataError) or are not at hand; a run of several tasks without one of them (RecipeError).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo.audit.doubted import FOLDS, doubted, out_of_fold, word_features
from zoo.audit.found import Audit, Doubt, Group, Label, LabelError, Telling
from zoo.backend import activate
from zoo.data.backbones import locate_backbone
from zoo.data.dataset import Dataset, load_dataset
from zoo.data.near import Alike, near_duplicates
from zoo.data.parts import load_parts
from zoo.data.telltales import telltales
from zoo.data.together import Together
from zoo.errors import DataError, RecipeError
from zoo.models.builder import plan
from zoo.recipe import Recipe, load_recipe
from zoo.recipe.faults import not_among
from zoo.runs.recorded import OUT_OF_FOLD
from zoo.runs.run_folder import RunFolder
from zoo.runs.stages import Unit
from zoo.tasks import Joint
from zoo.training.memory import halved, within_memory

__all__ = ["Bars", "audit", "begun"]

RECIPE = "recipe.yaml"
BATCH = 64
"""Rows a batch, unless the caller says otherwise."""


class Bars(Protocol):
    """What shows how far a stage is, as `zoo.runs.screen.Screen` does."""

    def bar(
        self, title: str, total: int | None = None, unit: Unit = "rows"
    ) -> AbstractContextManager[Callable[[int], None]]: ...


def audit(folder: RunFolder, bars: Bars, *, task: str | None = None, batch_size: int = BATCH) -> Audit:
    """What there is to doubt in a run's data.

    Args:
        folder: of the run.
        bars: told how far each part is.
        task: of a run of several tasks the one whose rows are looked at.
        batch_size: rows a batch, where a backbone has to be asked.
    """
    recipe = load_recipe(folder.path / RECIPE)
    data = load_dataset(recipe)
    recorded = folder.run.get("dataset", {}).get("sha256")
    if recorded is not None and recorded != data.sha256:
        raise DataError(
            f"the data have changed since the run {folder.path}: bring its rows back, or train again on these"
        )
    if task is not None:
        if not isinstance(data.task, Joint):
            raise RecipeError(f"--task: got {task}, expected none: the run has one task, {data.task.type}")
        if task not in data.task.tasks:
            raise RecipeError(f"--task: {not_among(task, data.task.tasks)}")
        recipe = recipe.of_tasks()[task]
        data = load_dataset(recipe)
    data.task.refuse("audit")
    return _Looking(folder, recipe, data, bars, batch_size, task).audit()


class _Looking:
    """The rows of a run, and what is found in them."""

    def __init__(
        self, folder: RunFolder, recipe: Recipe, data: Dataset, bars: Bars, batch_size: int, own: str | None
    ) -> None:
        self._folder, self._recipe, self._bars, self._batch_size, self._own = folder, recipe, bars, batch_size, own
        self._all, self._task = Together.of(data), data.task
        self._seconds: dict[str, float] = {}

    def audit(self) -> Audit:
        with self._timed("alike", len(self._all.texts)) as advance:
            alike = near_duplicates(self._all.texts, self._all.pairs, progress=advance)
        groups = tuple(self._group(each) for each in alike)
        classes = self._all.classes
        if classes is None:
            reason = f"the labels of task: {self._task.type} are not classes"
            left_out = {"label_errors": reason, "telling": reason}
            return self._found(groups, left_out, source=None, judged=0)
        with self._timed("words", len(self._all.texts)) as advance:
            telling = telltales(self._all.whole, classes, self._task.names, progress=advance)
        source, values, judged = self._probabilities(alike, classes)
        rows = np.flatnonzero(judged)
        found = rows[doubted(classes[rows], values[rows], exclusive=bool(self._task.exclusive))]
        left_out = {}
        if len(rows) < len(self._all.texts):
            count = len(self._all.texts) - len(rows)
            left_out["label_errors"] = f"{count:,} rows have no probabilities: their class has under {FOLDS} rows"
        return self._found(
            groups,
            left_out,
            source=source,
            judged=len(rows),
            label_errors=tuple(self._error(row, values[row]) for row in found.tolist()),
            telling=tuple(
                Telling(
                    kind=each.kind,
                    word=each.word,
                    label=self._task.names[each.name],
                    count=len(each.rows),
                    agreeing=each.agreeing,
                    rows=tuple(self._doubt(row) for row in each.rows.tolist()),
                )
                for each in telling
            ),
        )

    def _found(self, groups: tuple[Group, ...], left_out: Mapping[str, str], **found: Any) -> Audit:
        known = {"rows": self._all.rows, "task": self._own, "groups": groups, "seconds": self._seconds}
        return Audit(**{"label_errors": (), "telling": (), **known, "left_out": dict(left_out), **found})

    @contextmanager
    def _timed(self, title: str, total: int, unit: Unit = "rows") -> Iterator[Callable[[int], None]]:
        begun = time.monotonic()
        with self._bars.bar(title, total, unit) as advance:
            yield advance
        self._seconds[title] = round(time.monotonic() - begun, 3)

    def _doubt(self, row: int) -> Doubt:
        split, own = self._all.at(row)
        label = None if self._task.exclusive is None else self._task.label(split.labels[own])
        return Doubt(
            id=split.ids[own],
            place=split.place(own),
            split=self._all.split(row),
            label=label,
            text=self._all.whole[row],
        )

    def _group(self, alike: Alike) -> Group:
        rows = tuple(self._doubt(row) for row in alike.rows)
        return Group(
            rows=rows,
            similarity=alike.similarity,
            across=len({row.split for row in rows}) > 1,
            contradicting=self._all.contradicting(alike),
        )

    def _error(self, row: int, values: NDArray[np.float64]) -> LabelError:
        assert self._all.classes is not None
        own = self._all.classes[row]
        likelier: Label = self._task.names[int(values.argmax())]
        if not self._task.exclusive:
            likelier = [name for name, value in zip(self._task.names, values, strict=True) if value >= 0.5]
        share = values[own].min() if self._task.exclusive else np.where(own, values, 1 - values).min()
        return LabelError(**asdict(self._doubt(row)), suggested=likelier, probability=round(float(share), 6))

    # --- probabilities

    def _probabilities(
        self, alike: Sequence[Alike], classes: NDArray[np.bool_]
    ) -> tuple[str, NDArray[np.float64], NDArray[np.bool_]]:
        """Where they come from, the values [rows, names], and which rows have some, [rows]."""
        rows = self._folder.out_of_fold
        if rows and self._task.quantity == "probability":
            return self._of_run(rows)
        groups = np.arange(len(self._all.texts))
        for each in alike:
            groups[list(each.rows)] = each.rows[0]
        features, what = self._features()
        with self._timed("judge", FOLDS, "steps") as advance:
            words = word_features(self._all.whole)
            values, judged = out_of_fold(
                *(words, features, classes, groups), exclusive=bool(self._task.exclusive), progress=advance
            )
        source = f"{FOLDS} folds of a logistic regression on {what}"
        return source, values, judged

    def _of_run(self, rows: Sequence[Mapping[str, Any]]) -> tuple[str, NDArray[np.float64], NDArray[np.bool_]]:
        """Those of the run's own folds, and of the test rows, which none of its models was trained on."""
        known = {row["id"] for row in rows}
        rows = [*rows, *(row for row in self._folder.predictions if row["id"] not in known)]
        number = {self._all.id(row): row for row in range(len(self._all.texts))}
        strange = next((row["id"] for row in rows if row["id"] not in number), None)
        if strange is not None:
            raise DataError(
                f"{self._folder.path / OUT_OF_FOLD} has a row {strange}, which the data do not have: bring its rows "
                "back, or train again on these"
            )
        places = [number[row["id"]] for row in rows]
        _, told = self._task.of_rows(rows)
        values, judged = np.zeros((len(self._all.texts), len(self._task.names))), np.zeros(len(self._all.texts), bool)
        values[places], judged[places] = told, True
        return "the run's own folds: each row is judged by a model that was not trained on it", values, judged

    def _features(self) -> tuple[NDArray[np.float32] | None, str]:
        """What the backbone makes of each row before it has learned these labels; None of a fresh one."""
        recipe = begun(self._recipe)
        if recipe is None or recipe.model.backbone.preset is None:
            what = "it began as a fresh one" if recipe is not None else "it began as another run's, which is gone"
            return None, f"words alone: the run's own model has seen these labels, and {what}"
        parts = load_parts(recipe)
        blueprint = plan(recipe, preset=parts.preset, tokenizer=parts.tokenizer, task=self._task)
        assert parts.preset is not None
        from zoo.models.features import features  # it imports Keras

        columns = [self._all.texts] if self._all.pairs is None else [self._all.texts, self._all.pairs]
        found = []
        with self._timed("features", len(columns) * len(self._all.texts)) as advance:
            what = f"a batch of {self._batch_size} rows"
            with within_memory(activate(), what, halved("--batch-size ", self._batch_size, "take a larger machine")):
                for texts in columns:
                    found.append(
                        features(
                            *(blueprint, parts.preset, parts.tokenizer, texts, self._recipe.tokens),
                            batch_size=self._batch_size,
                            progress=advance,
                        )
                    )
        name = parts.preset.name
        what = f"words and on what {name}, as it came, makes of them: the run's own model has seen these labels"
        if len(found) == 1:
            return found[0], what
        one, other = found  # as sentence encoders compare two texts (Reimers and Gurevych 2019)
        return np.concatenate([one, other, np.abs(one - other), one * other], axis=1), what


def begun(recipe: Recipe) -> Recipe | None:
    """The recipe with the backbone that it began with before any run trained it, which may have seen the labels; None
    where the recipe of such a run is not there."""
    backbone = recipe.model.backbone
    while backbone.preset is not None:
        preset = locate_backbone(backbone)
        if preset is None or preset.layout != "zoo":
            break
        earlier = preset.path.parent / RECIPE
        if not earlier.is_file():
            return None
        backbone = load_recipe(earlier).model.backbone
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"backbone": backbone})})
