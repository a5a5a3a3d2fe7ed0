"""What an export is made from and checked with.

In comes a `Run`; out come what its model is, its weights as arrays, and real rows with the values that the run itself
gives them. Nothing is refused but what reading a run refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.backend import versions
from zoo.data.dataset import load_dataset
from zoo.data.given import Texts
from zoo.data.masking import MASKS, PLACES
from zoo.data.tokens import TokenTable
from zoo.data.words import words
from zoo.errors import ZooError
from zoo.models import inference, weights
from zoo.models.blueprint import WEIGHTS
from zoo.score.ragged import Ragged

if TYPE_CHECKING:
    from zoo.runs.run import Run

SENTENCES = (
    "A truly great film, warm and funny from the first minute to the last.",
    "It was dull, and so long that I left before the end.",
    "The plot makes little sense; the actors do what they can.",
    "Not bad.",
    "I would watch it again, and I would take my friends along.",
    "How do I get from the station to the old town without a car?",
    "The battery lasts a day, the screen is bright, and the box came late.",
    "Nothing to add.",
)
SHORT = ("Not bad.", "Nothing to add.", "Too long.", "Well done!")
"""What is classified where the rows of the run are not at hand; as pairs texts that leave room for each other."""
FEW, MANY = 32, 500
"""Rows that a float32 format and an int8 one are checked with, at most."""
MOST_TOKENS = 2**14
"""Tokens in all such rows: a check on a CPU is to take seconds, not minutes."""
BATCH = 16
OPEN = 8
"""Word that is left open, counted from 0, where a text has twice as many."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Texts (and second texts) with their tokens; `what` says where they are from."""

    texts: list[str]
    pairs: list[str] | None
    words: Ragged | None
    table: TokenTable
    what: str

    def __len__(self) -> int:
        return len(self.texts)


class Source:
    """A finished run, as the writers of formats look at it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.card, self.tokenizer = run.card, run.tokenizer

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The weights by the path of their variable."""
        return weights.read(self.run.path / "model" / WEIGHTS, task=self.run.own_task)

    def fill(self, variables: Iterable[Any]) -> None:
        """Fill variables that have the names of the run's own."""
        weights.load(variables, self.run.path / "model" / WEIGHTS, task=self.run.own_task)

    def description(self) -> dict[str, Any]:
        """What a user of the exported model has to know, as JSON has it."""
        card = self.card
        return {
            "label_names": list(card.task.names),
            "head": card.task.activation,
            "threshold": card.task.threshold,
            "tokens": card.tokens.model_dump(mode="json"),
            "family": card.blueprint.backbone.family,
            **versions("text-zoo"),
        }

    def description_text(self) -> str:
        return json.dumps(self.description(), indent=2, ensure_ascii=False) + "\n"

    def rows(self, most: int, *, whole: bool = False) -> Rows:
        """Rows of the run's test split where its data are at hand, else the built-in sentences.

        Args:
            most: rows at most.
            whole: leave out rows that lose tokens by truncation.
        """
        try:
            test = load_dataset(self.run.recipe).test
            test = test.take(np.arange(min(len(test), 4 * most)))  # a fourth is enough where long ones are left out
            texts, pairs, what = [*test.texts], None if test.pairs is None else [*test.pairs], "test rows"
        except ZooError:  # changed or removed since, or not in this cache
            texts, pairs, what = [], None, ""
        found = self._taken(texts, pairs, what, most, whole)
        if len(found):
            return found
        if self.run.takes_pairs:
            return self._taken(list(SHORT), list(SHORT[::-1]), "built-in pairs", most, False)
        return self._taken(list(SENTENCES), None, "built-in sentences", most, False)

    def _taken(self, texts: list[str], pairs: list[str] | None, what: str, most: int, whole: bool) -> Rows:
        task = self.card.task
        if task.each == "place":
            texts, pairs, whole = [self.run.filler.opened(_open(text)) for text in texts], None, True
        table = self.tokenizer.encode(texts, pairs, self.card.tokens)
        chosen = np.flatnonzero(table.full <= self.card.tokens.max_length) if whole else np.arange(len(texts))
        within = np.cumsum(np.bincount(table.owners, table.lengths)[chosen]) <= MOST_TOKENS
        chosen = chosen[within][:most]
        kept = [texts[i] for i in chosen]
        second = None if pairs is None else [pairs[i] for i in chosen]
        words = Texts.of(kept, second, worded=task.worded).words
        table = self.tokenizer.encode(kept, second, self.card.tokens, spans=task.spanned)
        return Rows(texts=kept, pairs=second, words=words, table=table, what=what)

    def expected(self, rows: Rows) -> np.ndarray:
        """The run's own values, [rows, names] float64; of a masked language model its probabilities at each row's
        mask, [rows, vocabulary]."""
        if self.card.task.each == "place":
            return np.concatenate(list(self.run.filler.probabilities(rows.texts)))
        return self.run.values_of(rows, batch_size=BATCH)

    def values(
        self, predict: Callable[[Mapping[str, Any]], Any], rows: Rows, *, lengths: Sequence[int] | None = None
    ) -> np.ndarray:
        """What another program makes of the same tokens, as `expected` has it.

        Args:
            predict: from token_ids, padding_mask (and segment_ids) to outputs [batch, units], of every token [batch,
                length, units].
            rows: the rows.
            lengths: the lengths a batch may have; None chooses some.
        """
        if self.card.task.each == "place":

            def at_masks(given: Mapping[str, np.ndarray]) -> np.ndarray:
                outputs = inference.to_host(predict({name: given[name] for name in self.input_names()}))
                return np.take_along_axis(outputs, given[PLACES][..., None], axis=1)

            return np.concatenate(list(self.run.filler.probabilities(rows.texts, scores=at_masks)))
        size = min(BATCH, len(rows))
        logits = inference.logits(predict, rows.table, names=self.input_names(), batch_size=size, lengths=lengths)
        task, pool = self.run.task, self.card.tokens.pool
        return task.values(inference.by_text(logits, task, rows.table, rows, pool=pool))

    def input_names(self) -> tuple[str, ...]:
        segments = ("segment_ids",) if self.card.blueprint.backbone.num_segments is not None else ()
        return ("token_ids", "padding_mask", *segments)


def _open(text: str) -> str:
    """The text with one of its first words left open."""
    found = words(text)
    if not found:
        return f"{text} {MASKS[0]}"
    start, end = found[min(len(found) // 2, OPEN)]
    return f"{text[:start]}{MASKS[0]}{text[end:]}"


def program(*packages: str) -> str:
    """Packages with their versions, as a sentence has them."""
    return ", ".join(f"{name} {number}" for name, number in versions(*packages).items())


def cutting_notes(source: Source, known: Sequence[str], what: str) -> list[str]:
    """A warning where the other program does not cut long texts as the run does.

    Args:
        known: the kinds of truncation that it has.
        what: the program.
    """
    tokens = source.card.tokens
    if tokens.truncation in known and tokens.long == "cut":
        return []
    lacks = (
        "look through windows (tokens.long)"
        if tokens.long == "window"
        else f"cut texts by truncation: {tokens.truncation}"
    )
    return [
        f"{what} cannot {lacks}: it keeps the head of a text of more than "
        f"{tokens.max_length} tokens, and gives such a text other probabilities than the run does"
    ]
