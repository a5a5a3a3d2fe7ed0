"""Our token ids against those of transformers' own tokenizers, row by row.

In come a kind of tokenizer and real reviews; out comes a `Difference`: how many rows were compared and how many had
other ids, another split into segments, or were refused by one side alone. Besides the reviews, which are compared at
several lengths and cut on either side, the hard strings below and pairs of both go in, pairs also with each of
transformers' strategies. `perturb` damages our vocabulary a little: then rows must differ, or the comparison is blind.

Refused: a cache without the vocabulary of MiniLM, which stands for the real uncased one. A real cased vocabulary and a
real one of RoBERTa are in no package, so these two are trained from the reviews.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models, normalizers, pre_tokenizers, trainers

from zoo.data.catalog import backbone_card
from zoo.data.sources import locate_first
from zoo.data.tokens import Tokenizer, TokenTable, load_tokenizer
from zoo.errors import DataError, EnvironmentFault
from zoo.recipe.types import Tokens

CLASSES = {
    "bert_uncased": "BertTokenizer",
    "bert_cased": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "roberta": "RobertaTokenizer",
}
"""Names in transformers."""
KINDS = tuple(CLASSES)

SIDES: dict[str, Literal["head", "tail"]] = {"right": "head", "left": "tail"}
"""transformers' truncation_side, the side that is cut, and our truncation, the part that stays."""
STRATEGIES: tuple[Literal["longest_first", "only_first", "only_second"], ...] = (
    "longest_first",
    "only_first",
    "only_second",
)
REVIEW_LENGTHS = (17, 128, 512)
HARD_LENGTHS = (4, 33, 128, 512)
REVIEW_PAIR_LENGTHS = (17, 48, 129)
HARD_PAIR_LENGTHS = (5, 9, 16, 64)
REVIEW_PAIRS = 200
REVIEW_CHARACTERS = 600
HARD_CHARACTERS = 60
"""Texts of pairs are shortened: transformers keeps each part that it cuts from the first text together with each that
it cuts from the second, and long pairs fill the memory."""

VOCABULARY = 8000
"""Entries of a vocabulary that is trained here."""
COMMON = (("Ġthe", "Ġand"), ("the", "and"))
"""Entries, of byte-level BPE and of WordPiece, whose ids are exchanged for the comparison to fail."""

HARD = (
    "",
    " ",
    "   \t\n\r ",
    "A truly GREAT film.",
    "Café naïve, crème brûlée, Ångström, İstanbul, ıŞğ",
    "Cafe\u0301 nai\u0308ve with combining accents, Z\u0351\u036b\u0343a\u0322\u0328lgo, \u0301 alone",
    "👍🏽 emoji 👩‍👩‍👧‍👦 and flags 🇪🇺 in words😀😀like this, ☺️ ☺",
    "电影 is 很好, 日本語のテキスト and 한국어, \uff46\uff55\uff4c\uff4c, 𠀀𠮷 beyond the basic plane",
    "no\u00a0break\u2009thin\u3000ideographic\u202fnarrow\u1680ogham spaces\u2028and\u2029separators\u0085here",
    "zero\u200bwidth\u200djoiner\u200cnon\ufeffmark\u2060word",
    "soft\u00adhyphen and bell\x07 and \ufffd",
    "NUL \x00 inside\x00a word, \x01\x02 \x1b[31mred\x1b[0m \x7f\x80\x9f and \x0b\x0c tabs",
    "private \ue000\uf8ff use, not \ufffe\uffff characters, \U000e0041 tags, \U0010ffff",
    "Straße, ẞ, ß, STRASSE, \u017fharp \u017f",
    "ﬁne oﬃce ﬂuﬀ ligatures, Ǆ ǆ ĳ, ½ ² № ℡ Å K",
    "tabs\tand\nnew\r\nlines   and   runs",
    "spaces" + " " * 3_000 + "and spaces" + " " * 77,
    "\u00a0" * 300 + "x" + "\u3000" * 300,
    "don't can't we'll I'm they'd you've it's DON'T o'clock 'tis \u2019twas",
    "10,000.50$ 3/4 1e-5 @user #tag http://a.b/c?d=e&f a_b-c --- ... !!!???",
    "…—\u2013“quotes”\u2018single\u2019«guillemets»\u2039\u203a\u201a„†‡•",
    "ελληνικά Ελληνικός ΟΔΥΣΣΕΥΣ русский ёлка й עברית שָׁלוֹם العربية السَّلَامُ हिन्दी क्षि ไทย தமிழ்",
    "right \u202eto\u202c left \u2067marks\u2069 \u200fand\u200e",
    "<br />HTML<br /><br/>&amp;&nbsp;",
    "[SEP] <s> [MASK] <mask>",
    "before[SEP]after [CLS]x[PAD] [UNK] [ SEP ] [sep] [Mask] ##the [SEP",
    "one <mask> two  <mask>  three<mask>four\n<mask>\t</s></s> <pad><unk> < s > <S>",
    "[SEP]",
    "<mask>",
    "x" * 10_000,
    "é" * 10_000,
    "e\u0301" * 5_000,
    "电" * 1_000,
    "x" * 99 + " " + "y" * 100 + " " + "z" * 101,
    "great " * 3_000,
    "!" * 2_000,
)
"""Texts at which tokenizers differ: what is stripped, lower-cased, split off, taken for one word or for a token."""


@dataclass(frozen=True)
class Difference:
    """compared: rows, each text or pair once for each length, side and strategy. example: the first that differed."""

    compared: int
    differing: int
    example: str | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one side makes of a text; None instead of a Row where it refuses."""

    ids: list[int]
    segments: list[int]


def compare(kind: str, texts: Sequence[str], *, perturb: bool, folder: Path) -> Difference:
    """Compare `load_tokenizer` with transformers' class of this kind.

    Args:
        kind: one of KINDS.
        texts: real reviews; a vocabulary that has to be trained is trained from them.
        perturb: exchange the ids of two common entries on our side.
        folder: where vocabularies may be written.

    Raises:
        EnvironmentFault: the vocabulary of MiniLM is not in the cache.
    """
    vocabulary = _vocabulary(kind, texts, folder / kind)
    ours, theirs = load_tokenizer(vocabulary), original(CLASSES[kind], vocabulary)
    if perturb:
        ours = _perturbed(ours)
    compared, differing, example = 0, 0, None
    for what, found, expected in differences(theirs, ours, texts):
        compared += 1
        if found != expected:
            differing += 1
            example = example or f"{what}: {_told(ours, found)}, expected {_told(ours, expected)}"
    return Difference(compared, differing, example)


def differences(theirs: Any, ours: Tokenizer, texts: Sequence[str]) -> Iterator[tuple[str, Row | None, Row | None]]:
    """Every row: what it is, what we make of it, what transformers makes of it."""
    reviews = [(a[:REVIEW_CHARACTERS], b[:REVIEW_CHARACTERS]) for a, b in pairwise(texts[: REVIEW_PAIRS + 1])]
    short = [text[:HARD_CHARACTERS] for text in HARD]
    hard = [pair for a, b in pairwise(short) for pair in ((a, b), (b, ""), ("A truly GREAT film.", b))]
    for side in SIDES:
        for max_length in HARD_LENGTHS:
            yield from _singles(theirs, ours, HARD, max_length, side)
        for max_length in REVIEW_LENGTHS:
            yield from _singles(theirs, ours, texts, max_length, side)
        for strategy in STRATEGIES:
            for max_length in HARD_PAIR_LENGTHS:
                yield from _pairs(theirs, ours, hard, max_length, side, strategy)
            for max_length in REVIEW_PAIR_LENGTHS:
                yield from _pairs(theirs, ours, reviews, max_length, side, strategy)


def original(name: str, folder: Path) -> Any:
    """A tokenizer of transformers, by the name of its class and the folder of its vocabulary."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports, which is not ours
        import transformers
    return getattr(transformers, name).from_pretrained(folder)


def rows(ours: Tokenizer, table: TokenTable) -> list[Row]:
    """A table in Python's lists. RoBERTa has no segments, and its tokenizer says 0 throughout."""
    segmented = len(ours.specials.between) == 1
    starts = table.second if segmented else table.lengths
    return [
        Row(
            ids=table.ids[first:last].tolist(),
            segments=(np.arange(last - first) >= start).astype(int).tolist(),
        )
        for first, last, start in zip(table.offsets[:-1], table.offsets[1:], starts, strict=True)
    ]


def _singles(
    theirs: Any, ours: Tokenizer, texts: Sequence[str], max_length: int, side: str
) -> Iterator[tuple[str, Row | None, Row | None]]:
    config = Tokens(max_length=max_length, truncation=SIDES[side])
    theirs.truncation_side = side
    for start in range(0, len(texts), 500):  # few at a time: what transformers cuts off, it keeps
        chunk = list(texts[start : start + 500])
        found = rows(ours, ours.encode(chunk, None, config))
        encoded = theirs(chunk, max_length=max_length, truncation="longest_first", return_token_type_ids=True)
        expected = zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)
        for text, row, (ids, segments) in zip(chunk, found, expected, strict=True):
            yield f"{text!r:.80} at {max_length}, {side} cut", row, Row(ids=ids, segments=segments)


def _pairs(
    theirs: Any,
    ours: Tokenizer,
    pairs: Sequence[tuple[str, str]],
    max_length: int,
    side: str,
    strategy: Literal["longest_first", "only_first", "only_second"],
) -> Iterator[tuple[str, Row | None, Row | None]]:
    """One at a time, because either side refuses all rows for one that it cannot shorten."""
    config = Tokens(max_length=max_length, truncation=SIDES[side], pair_truncation=strategy)
    theirs.truncation_side = side
    for a, b in pairs:
        found: Row | None = None
        expected: Row | None = None
        with suppress(DataError):
            (found,) = rows(ours, ours.encode([a], [b], config))
        try:
            # In lists: transformers takes a second text that is empty for none.
            encoded = theirs([a], [b], max_length=max_length, truncation=strategy, return_token_type_ids=True)
            expected = Row(ids=encoded["input_ids"][0], segments=encoded["token_type_ids"][0])
        except Exception as error:  # the library raises no narrower one
            if "too short to respect" not in str(error):
                raise
        yield f"{a!r:.60} with {b!r:.60} at {max_length}, {side} cut, {strategy}", found, expected


def _told(ours: Tokenizer, row: Row | None) -> str:
    return f"{' '.join(ours.pieces(row.ids))!r:.200} {row.segments!s:.60}" if row is not None else "a refusal"


def _perturbed(ours: Tokenizer) -> Tokenizer:
    settings = json.loads(ours.to_json())
    entries = settings["model"]["vocab"]
    a, b = next(pair for pair in COMMON if pair[0] in entries)
    entries[a], entries[b] = entries[b], entries[a]
    return Tokenizer.from_json(json.dumps(settings))


# --- vocabularies -------------------------------------------------------------------------------


def _vocabulary(kind: str, texts: Sequence[str], folder: Path) -> Path:
    """A folder in the layout that transformers reads."""
    if kind in ("bert_uncased", "distilbert"):
        located = locate_first(backbone_card("minilm_l6_en_uncased").origins)
        if located is None:
            raise EnvironmentFault(
                "minilm_l6_en_uncased: not in the cache, run python -m zoo.fetch recipes/quickstart.yaml"
            )
        return located[1]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if kind == "bert_cased":
        _train_word_piece(texts, folder)
    else:
        _train_byte_level_bpe(texts, folder)
    return folder


def _train_word_piece(texts: Sequence[str], folder: Path) -> None:
    rust = RustTokenizer(models.WordPiece(unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(lowercase=False)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    rust.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=specials, show_progress=False)
    )
    rust.model.save(str(folder))
    settings = {"do_lower_case": False, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _train_byte_level_bpe(texts: Sequence[str], folder: Path) -> None:
    rust = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rust.train_from_iterator(texts, trainer)
    rust.model.save(str(folder))
