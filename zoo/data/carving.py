"""From the rows of files to train, validation and test.

In come the splits that were read, and what the recipe says of the others; out come all three: exact duplicates dropped
from train, test and validation carved from it, limits applied, a fold held out or few rows a class drawn, train
shuffled. Refused: classes with too few rows to stand in all of them or to be drawn, fewer rows than folds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from zoo.data.identity import hashed, identities, numbered, standing_in
from zoo.data.split import SPLITS, Split
from zoo.data.splitting import draw, few, folded, shuffled
from zoo.errors import DataError
from zoo.recipe import Recipe
from zoo.recipe.little_data import FewShot
from zoo.recipe.showing import listed
from zoo.tasks import Task

__all__ = ["carved", "digest", "duplicates", "overlap"]


def duplicates(splits: dict[str, Split], deduplicate: bool, notes: list[str]) -> list[str]:
    """Drop exact duplicates from train; a fault for texts with two labels, which stay."""
    train = splits["train"]
    texts, labels = numbered(identities(train)), numbered(hashed(row.tobytes() for row in train.labels))
    both, first = np.unique(texts * len(train) + labels, return_index=True)
    if deduplicate and len(first) < len(train):
        notes.append(f"train: {len(train) - len(first)} exact duplicates were dropped")
        splits["train"] = train.take(np.sort(first))
    contradicting = np.count_nonzero(np.unique(both // len(train), return_counts=True)[1] > 1)
    if not contradicting:
        return []
    return [f"train: {contradicting} texts stand there with two different labels; correct or remove them"]


def carved(splits: dict[str, Split], task: Task, recipe: Recipe) -> dict[str, Split]:
    """All three splits: test carved or held out of train, limits, validation carved from train, train shuffled."""
    data, seed = recipe.data, split_seed(recipe)
    splits = dict(splits)
    if data.folds is not None:
        splits.pop("test", None)
    absent = [part for part in ("test", "validation") if part not in splits]
    if "test" not in splits and data.folds is None:
        _carve(splits, "test", absent, task, recipe)
    splits["train"] = _limited(splits["train"], task, data.limit.train, seed, "train limit")
    if data.folds is not None:
        _hold_out(splits, task, data.folds, data.fold or 1, seed)
    if "validation" not in splits:
        _carve(splits, "validation", ["validation"], task, recipe)
    for part in ("validation", "test") if data.folds is None else ("validation",):
        splits[part] = _limited(splits[part], task, getattr(data.limit, part), seed, f"{part} limit")
    if data.few_shot is not None:
        _draw_few(splits, task, data.few_shot, seed)
    train = splits["train"]
    splits["train"] = train.take(shuffled(len(train), recipe.seed, "order"))
    return {split: splits[split] for split in SPLITS}


def split_seed(recipe: Recipe) -> int:
    """What draws which rows each split has."""
    return recipe.seed if recipe.data.seed is None else recipe.data.seed


def _carve(splits: dict[str, Split], part: str, absent: Sequence[str], task: Task, recipe: Recipe) -> None:
    """Move the share of train that the recipe gives `part` there; both stay in the file's order."""
    train, how = splits["train"], getattr(recipe.data, part)
    stratified = tuple(name for name in absent if getattr(recipe.data, name).stratify)
    if how.stratify:
        task.refuse_few(train.labels, stratified)
    wanted = max(1, round(how.fraction * len(train)))
    if wanted >= len(train):
        raise DataError(f"train has {len(train)} row, too few to carve {part} from; add rows, or give a {part} file")
    taken = draw(
        task.strata(train.labels), wanted, split_seed(recipe), part, stratify=how.stratify, least=task.least, leave=1
    )
    splits[part], splits["train"] = train.take(taken), train.take(~taken)


def _hold_out(splits: dict[str, Split], task: Task, folds: int, number: int, seed: int) -> None:
    """Make a fold of train the test split; number: counted from 1."""
    train = splits["train"]
    if len(train) < folds:
        raise DataError(f"train has {len(train)} rows, too few for {folds} folds: add rows, or set data.folds to fewer")
    held = folded(task.strata(train.labels), folds, seed) == number - 1
    splits["test"], splits["train"] = train.take(held), train.take(~held)


def _draw_few(splits: dict[str, Split], task: Task, asked: FewShot, seed: int) -> None:
    """Leave so many rows of each class in train, and at most as many in validation, in the file's order."""
    counts = np.bincount(task.strata(splits["train"].labels), minlength=len(task.names))
    short = [f"{name} ({count})" for name, count in zip(task.names, counts, strict=True) if count < asked.rows]
    if short:
        fewer = f"set data.few_shot.rows={counts.min()}, or add rows" if counts.min() else "add rows"
        raise DataError(
            f"data.few_shot: train has too few rows of {listed(short)}, expected {asked.rows} of each class, once test "
            f"and validation are taken out: {fewer}"
        )
    for part in ("train", "validation"):
        strata = task.strata(splits[part].labels)
        splits[part] = splits[part].take(few(strata, asked.rows, (asked.draw or 1) - 1, seed, f"few {part}"))


def _limited(split: Split, task: Task, limit: int | None, seed: int, stream: str) -> Split:
    """At most `limit` rows, the classes in proportion, in the file's order."""
    if limit is None or limit >= len(split):
        return split
    return split.take(draw(task.strata(split.labels), limit, seed, stream, stratify=True, least=task.least))


def overlap(splits: Mapping[str, Split]) -> list[str]:
    """A fault where rows of test stand in train or validation, too."""
    count = np.count_nonzero(standing_in(splits["test"], [splits["train"], splits["validation"]]))
    if not count:
        return []
    return [f"test: {count} of {len(splits['test'])} rows also stand in train or validation; test figures are too good"]


def digest(splits: Mapping[str, Split], names: Sequence[str]) -> str:
    """sha256 of class names, texts, labels and weights of all splits, in their order."""
    found = hashlib.sha256("\0".join(names).encode())
    for part, split in splits.items():
        found.update(f"\0{part}\0{len(split)}\0".encode())
        labels = split.labels
        if isinstance(labels, np.ndarray):
            labels = labels.astype(labels.dtype.newbyteorder("<"))
        found.update(labels.tobytes())
        if split.words is not None:
            found.update(split.words.tobytes())
        if split.weights is not None:
            found.update(split.weights.astype("<f8").tobytes())
        for texts in (split.texts, split.pairs):
            if texts is not None:
                texts.hash_into(found)
    return found.hexdigest()
