"""Words and tokens: every word is looked at once, whatever the pieces and the windows."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.catalog import vocabulary_folder
from zoo.data.tokens import Tokenizer, TokenTable, load_tokenizer
from zoo.data.worded import places_of, read_texts
from zoo.recipe.types import Tokens
from zoo.score.ragged import Ragged
from zoo.tasks.alignment import align


@dataclass(frozen=True)
class Table:
    """What the alignment needs of a table."""

    offsets: np.ndarray
    owners: np.ndarray
    spans: np.ndarray

    ids = second = np.zeros(0, np.int32)


@cache
def tokenizer(vocabulary: str) -> Tokenizer:
    return load_tokenizer(vocabulary_folder(vocabulary))


def ragged(places: list[list[tuple[int, int]]]) -> Ragged:
    return Ragged.of(places, np.int32, item=(2,))


def by_hand(table: TokenTable, words: Ragged) -> list[tuple[int, int]]:
    """The tokens of each word, by looking at all of them."""
    assert table.spans is not None
    found = []
    for text, places in enumerate(words):
        for number, (start, end) in enumerate(places):
            best = None
            for row in np.flatnonzero(table.owners == text):
                a, b = int(table.offsets[row]), int(table.offsets[row + 1])
                real = [i for i in range(a, b) if table.spans[i, 0] >= 0]
                mine = [i for i in real if table.spans[i, 0] < end and table.spans[i, 1] > start]
                own = [i for i in mine if number == 0 or table.spans[i, 0] >= places[number - 1][1]]
                mine = own or mine
                if mine:
                    key = (min(mine[0] - real[0], real[-1] - mine[-1]), len(mine))
                    if best is None or key > best[0]:
                        best = (key, (mine[0], mine[-1] + 1))
            found.append(best[1] if best else (-1, -1))
    return found


TEXT = st.text(st.sampled_from("ab film'-.\N{LATIN SMALL LETTER E WITH ACUTE}我\U0001f600"), max_size=60)


@pytest.mark.parametrize("vocabulary", ["nano_uncased", "nano_bpe"])
@given(
    texts=st.lists(TEXT, min_size=1, max_size=3), room=st.integers(4, 14), stride=st.integers(1, 12), cut=st.booleans()
)
def test_every_word_is_looked_at_once_where_most_is_around_it(
    vocabulary: str, texts: list[str], room: int, stride: int, cut: bool
) -> None:
    config = Tokens(max_length=room) if cut else Tokens(max_length=room, long="window", stride=min(stride, room - 2))
    table = tokenizer(vocabulary).encode(texts, None, config, spans=True)
    words = ragged([places_of(text) for text in texts])
    found = align(table, words)
    assert [*zip(found.first.tolist(), found.last.tolist(), strict=True)] == by_hand(table, words)
    # No token belongs to two words, and all tokens of a word are of its own text.
    taken = np.concatenate(
        [np.arange(a, b) for a, b, own in zip(found.first, found.last, found.own, strict=True) if own] or [[]]
    )
    assert len(np.unique(taken)) == len(taken)
    row = np.searchsorted(table.offsets, found.first[found.seen], side="right") - 1
    assert (table.owners[row] == words.owners[found.seen]).all()
    if not cut and vocabulary == "nano_bpe":  # which has a token for every byte
        assert found.seen.all()


def test_words_of_a_list_and_a_piece_that_two_words_share() -> None:
    texts = read_texts("train", None, {"text": [["New-York", "'s"]], "line": [1]})  # type: ignore[arg-type]
    table = tokenizer("nano_uncased").encode(texts["text"], None, Tokens(max_length=40), spans=True)
    found = align(table, ragged(texts["words"]))
    assert found.first.tolist() == [1, int(found.last[0])]
    assert found.own.all()
    shared = Table(np.array([0, 3]), np.array([0]), np.array([[-1, -1], [0, 2], [-1, -1]]))
    found = align(shared, ragged([[(0, 1), (1, 2), (3, 4)]]))
    assert (found.first.tolist(), found.own.tolist()) == ([1, 1, -1], [True, False, False])


def test_texts_without_words_and_words_that_are_cut_away() -> None:
    table = tokenizer("nano_uncased").encode(["", "the film is good"], None, Tokens(max_length=4), spans=True)
    found = align(table, ragged([[], [(0, 3), (4, 8), (9, 11), (12, 16)]]))
    assert found.seen.tolist() == [True, True, False, False]
    assert found.first[found.seen].tolist() == [3, 4]
