"""What a masked language model puts where a text is left open.

In come a model, its tokenizer and texts with mask tokens; out come, for each mask, the probabilities of all entries of
the vocabulary or the likeliest ones. [MASK] and <mask> both mean the vocabulary's own. Several masks of a text are
filled each by itself, as transformers does. Refused: texts without a mask, or that are cut before it; a preset
without a masked-language head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from zoo.backend import activate
from zoo.data.backbones import Preset
from zoo.data.batches import batches, few_lengths
from zoo.data.masking import MASKS, PLACES, SPACE, mask_of
from zoo.data.tokens import Tokenizer, load_tokenizer
from zoo.errors import DataError, RecipeError
from zoo.models import inference
from zoo.models.blueprint import Blueprint
from zoo.models.builder import brings_head, build_model
from zoo.models.places import at_places
from zoo.models.presets import read_config
from zoo.recipe.heads import MaskedHead
from zoo.recipe.types import Tokens

__all__ = ["BATCH", "Filler", "Guess"]

BATCH = 16
"""Texts that are filled at once: more would have too many scores."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What may stand at a mask: an entry of the vocabulary, the word as people read it, and its probability."""

    piece: str
    word: str
    probability: float


class Filler:
    """A masked language model with its tokenizer.

    Args:
        model: as `zoo.models.masked.attach` makes it.
        tokenizer: of its vocabulary; EnvironmentFault where that has no mask token.
        longest: tokens a text may have, those that frame it counted.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer, *, longest: int) -> None:
        self.model, self.tokenizer, self.longest = model, tokenizer, longest
        self.mask = mask_of(tokenizer)
        self._own = tokenizer.pieces([self.mask])[0]

    @classmethod
    def of_preset(cls, preset: Preset) -> Self:
        """The model of a preset, with its own head; RecipeError where it has none."""
        if not brings_head(preset, MaskedHead.program):
            given = f"{{family: {preset.family}, preset: {preset.name}}}"
            raise RecipeError(
                f"{preset.name} comes without a masked-language head, expected one, or a run of task: masked: train "
                f"it by `python -m zoo.run imdb_masked --set 'model.backbone={given}'`"
            )
        config = read_config(preset).backbone
        blueprint = Blueprint(backbone=config, head=MaskedHead(init="preset"), units=config.vocabulary_size)
        model = build_model(blueprint, preset=preset, seed=0, precision="float32")
        return cls(model, load_tokenizer(preset.path), longest=config.max_positions)

    @cached_property
    def _predict(self) -> Any:
        return activate().predictor(at_places(self.model), precision="float32")

    def opened(self, text: str) -> str:
        """The text with the vocabulary's own mask token where it has [MASK] or <mask>."""
        return text.replace(MASKS[0], self._own).replace(MASKS[1], self._own)

    def probabilities(
        self, texts: Sequence[str], *, scores: Callable[[dict[str, np.ndarray]], Any] | None = None
    ) -> Iterator[NDArray[np.float64]]:
        """Of each text in order, the probability of each entry of the vocabulary at each of its masks.

        Args:
            texts: each with a mask at least.
            scores: from the model's inputs and `PLACES` to scores [batch, places, vocabulary]; None asks the model.

        Yields:
            [masks, vocabulary].

        Raises:
            DataError: a text has no mask, or loses it because it is too long.
        """
        given = list(map(self.opened, texts))
        for text in given:
            if self._own not in text:
                raise DataError(f"{text!r:.80} has no mask, expected {MASKS[0]} where a word is left open: put one in")
        table = self.tokenizer.encode(given, None, Tokens(max_length=self.longest))
        found = [np.flatnonzero(ids == self.mask) for ids in np.split(table.ids, table.offsets[1:-1])]
        for text, places in zip(given, found, strict=True):
            if len(places) < text.count(self._own):
                raise DataError(f"{text!r:.80} has a mask after its first {self.longest} tokens: shorten the text")
        names, scores = inference.input_names(self.model), scores or self._predict
        for start in range(0, len(given), BATCH):
            rows = np.arange(start, min(start + BATCH, len(given)))
            size = 1 << (len(rows) - 1).bit_length()  # few shapes, as some backends compile each
            lengths = few_lengths(self.longest)
            (batch,) = batches(table, None, [rows], batch_size=size, lengths=lengths, names=names)
            places = np.zeros((size, max(len(found[row]) for row in rows)), np.int32)
            for place, row in enumerate(rows):
                places[place, : len(found[row])] = found[row]
            made = inference.to_host(scores({**batch.inputs, PLACES: places}))
            for place, row in enumerate(rows):
                yield _softmax(made[place, : len(found[row])])

    def fill(self, texts: Sequence[str], *, top: int = 5) -> list[list[list[Guess]]]:
        """The likeliest entries at each mask of each text, the likeliest first; raises as `probabilities`."""
        return [
            [[self._guess(int(number), row) for number in np.argsort(-row, kind="stable")[:top]] for row in found]
            for found in self.probabilities(texts)
        ]

    def spellings(self, word: str) -> list[int]:
        """The entries of the vocabulary that are this word, in small letters or with a capital."""
        entries = self.tokenizer.rust.get_vocab(with_added_tokens=True)
        capital = word[:1].upper() + word[1:]
        # Of byte-level vocabularies an entry without its space goes on with a word, or begins a text.
        spaced = any(entry.startswith(SPACE) for entry in entries)
        forms = {f"{SPACE}{word}", f"{SPACE}{capital}", capital} if spaced else {word, capital}
        return sorted(entries[form] for form in forms if form in entries)

    def _guess(self, number: int, row: NDArray[np.float64]) -> Guess:
        word = self.tokenizer.rust.decode([number], skip_special_tokens=False).strip()
        return Guess(piece=self.tokenizer.pieces([number])[0], word=word, probability=float(row[number]))


def _softmax(scores: np.ndarray) -> NDArray[np.float64]:
    found = scores.astype(np.float64)
    found = np.exp(found - found.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = found / found.sum(axis=-1, keepdims=True)
    return shares
