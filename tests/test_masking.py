"""Masks: as many as asked for, of the text's own tokens alone, drawn by row, whole words together."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer

from zoo.data.batches import Batch, batches, choose_lengths
from zoo.data.catalog import vocabulary_folder
from zoo.data.masking import NOTHING, PLACES, Masking
from zoo.data.tokens import Tokenizer, TokenTable, load_tokenizer
from zoo.errors import EnvironmentFault
from zoo.recipe.heads import MaskedHead
from zoo.recipe.types import Tokens

NAMES = ("token_ids", "padding_mask", "segment_ids")
TEXTS = st.lists(st.text("abcdeilmnorstu .,!", max_size=60), min_size=1, max_size=8)


@cache
def tokenizer(vocabulary: str) -> Tokenizer:
    return load_tokenizer(vocabulary_folder(vocabulary))


def table_of(texts: list[str], vocabulary: str = "nano_uncased") -> TokenTable:
    return tokenizer(vocabulary).encode(texts, None, Tokens(max_length=64))


def hidden(
    table: TokenTable, masking: Masking, *, seed: int = 0, turn: int = 1, rows: np.ndarray | None = None
) -> tuple[Batch, Batch]:
    """The batch of these rows before and after."""
    rows = np.arange(len(table)) if rows is None else rows
    lengths = choose_lengths(table.lengths, shapes=1)
    (batch,) = batches(table, None, [rows], batch_size=len(rows) + 1, lengths=lengths, names=NAMES)
    return batch, masking.hidden(batch, seed=seed, turn=turn)


@pytest.mark.parametrize("vocabulary", ["nano_uncased", "nano_bpe"])
@pytest.mark.parametrize("whole", [False, True])
@given(texts=TEXTS, share=st.floats(0.05, 0.95), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_what_is_hidden(vocabulary: str, whole: bool, texts: list[str], share: float, seed: int) -> None:
    """Each row has its share of places, of its text alone; what is not predicted stays as it is."""
    masking = Masking.of(MaskedHead(share=share, whole_word=whole), tokenizer(vocabulary))
    before, after = hidden(table_of(texts, vocabulary), masking, seed=seed)
    places, targets = after.inputs[PLACES], after.labels
    assert places.shape == targets.shape == (len(texts) + 1, masking.head.places(before.shape[1]))
    assert (targets[-1] == NOTHING).all()  # the row that fills the batch up
    for row in range(len(texts)):
        ids, seen = before.inputs["token_ids"][row], after.inputs["token_ids"][row]
        used = targets[row] != NOTHING
        chosen = places[row][used]
        own = int(masking.ordinary[ids].sum())
        assert (len(chosen) > 0) == (own > 0)
        assert len(chosen) <= max(1, round(share * own))
        if not whole and own:
            assert len(chosen) == max(1, round(share * own))
        assert (np.diff(chosen) > 0).all()
        assert masking.ordinary[ids[chosen]].all()
        np.testing.assert_array_equal(targets[row][used], ids[chosen])
        rest = np.setdiff1d(np.arange(len(ids)), chosen)
        np.testing.assert_array_equal(seen[rest], ids[rest])
    np.testing.assert_array_equal(before.inputs["padding_mask"], after.inputs["padding_mask"])


def test_a_row_is_drawn_by_itself() -> None:
    """From seed, turn and its number: in other batches, of other lengths, it is the same."""
    texts = ["a warm and funny film with a great story", "dull", "the plot makes little sense and the jokes are old"]
    table, masking = table_of(texts), Masking.of(MaskedHead(), tokenizer("nano_uncased"))
    _, together = hidden(table, masking)
    for row in range(len(texts)):
        _, alone = hidden(table, masking, rows=np.array([row]))
        used = alone.labels[0] != NOTHING
        count = int(used.sum())
        np.testing.assert_array_equal(alone.inputs[PLACES][0][used], together.inputs[PLACES][row][:count])
        size = int(table.lengths[row])
        np.testing.assert_array_equal(alone.inputs["token_ids"][0][:size], together.inputs["token_ids"][row][:size])
    drawn = {
        hidden(table, masking, seed=seed, turn=turn)[1].inputs[PLACES].tobytes() for seed in (0, 1) for turn in (0, 1)
    }
    assert len(drawn) == 4


def test_shares_of_masked_random_and_kept() -> None:
    texts = ["the film is a warm and funny story of two friends and their old car"] * 4000
    masking = Masking.of(MaskedHead(), tokenizer("nano_uncased"))
    before, after = hidden(table_of(texts), masking)
    chosen = after.labels != NOTHING
    seen = np.take_along_axis(after.inputs["token_ids"], after.inputs[PLACES], axis=1)[chosen]
    own = after.labels[chosen]
    assert np.mean(seen == masking.mask) == pytest.approx(0.8, abs=0.01)
    assert np.mean(seen == own) == pytest.approx(0.1, abs=0.01)
    others = seen[(seen != masking.mask) & (seen != own)]
    assert masking.ordinary[others].all()
    assert len(np.unique(others)) > 0.8 * masking.ordinary.sum()
    assert chosen.sum() == 4000 * round(0.15 * masking.ordinary[before.inputs["token_ids"][0]].sum())


@pytest.mark.parametrize("vocabulary", ["nano_uncased", "nano_bpe"])
def test_whole_words(vocabulary: str) -> None:
    """A word that is hidden is hidden to its last piece."""
    texts = ["unforgettable performances, extraordinarily heartbreaking storytelling throughout"] * 200
    masking = Masking.of(MaskedHead(whole_word=True, share=0.5), tokenizer(vocabulary))
    table = table_of(texts, vocabulary)
    before, after = hidden(table, masking)
    cut = 0
    for row in range(len(texts)):
        ids = before.inputs["token_ids"][row][: table.lengths[row]]
        open_ = set(after.inputs[PLACES][row][after.labels[row] != NOTHING].tolist())
        words = np.cumsum(masking.begins[ids] | ~masking.ordinary[ids] | ~np.roll(masking.ordinary[ids], 1))
        for word in np.unique(words):
            pieces = set(np.flatnonzero(words == word).tolist())
            cut += 0 < len(open_ & pieces) < len(pieces)
    assert cut == 0
    assert masking.begins[before.inputs["token_ids"]].mean() < 0.9  # some words have several pieces


def test_refuses_a_vocabulary_without_a_mask() -> None:
    rust = RustTokenizer.from_str(tokenizer("nano_uncased").to_json().replace("[MASK]", "[HIDE]"))
    with pytest.raises(EnvironmentFault, match="neither"):
        Masking.of(MaskedHead(), Tokenizer(rust))


@pytest.mark.parametrize(
    ("given_", "keys"),
    [
        ({"masked": 0.9, "random": 0.2}, ("masked", "random")),
        ({"dropout": 0.1}, ("dropout",)),
        ({"preset_labels": ("a", "b")}, ("preset_labels",)),
    ],
)
def test_head_refuses(given_: dict[str, object], keys: tuple[str, ...]) -> None:
    assert [clash.keys for clash in MaskedHead(**given_).clashes()] == [keys]  # type: ignore[arg-type]
