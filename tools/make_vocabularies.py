"""Makes the small vocabularies of fresh backbones from the sample data that the repository ships.

    python tools/make_vocabularies.py            # writes zoo/data/catalog/vocabularies/
    python tools/make_vocabularies.py --check    # exit 1 where what is there differs

In come some of samples/*.csv; out go nano_uncased and nano_films (WordPiece, vocab.txt) and nano_bpe (byte-level BPE
with RoBERTa's special tokens, vocab.json and merges.txt). Words are counted and merges are picked here, with ties
broken by the alphabet, so that the files are the same on every machine and with every version of `tokenizers`.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import re
import sys
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "zoo" / "data" / "catalog"
SAMPLES = [f"smoke_{name}_{split}.csv" for name in ("questions", "reviews", "stars") for split in ("test", "train")]
"""Samples that came later are left out: with them the vocabularies would be others, and so would what is trained."""
FILMS = [f"smoke_films_{split}.csv" for split in ("test", "train")]
"""Of nano_films: each of their words is a whole one there."""
WORDS = 400
"""Whole words in a WordPiece vocabulary at most, the most frequent ones."""
MERGES = 400
"""Merges in nano_bpe."""
WORDPIECE_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BPE_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[]_`~"


def sample_texts(names: list[str]) -> list[str]:
    """All texts of these shipped samples, the first column of each file."""
    texts = []
    for name in names:
        with (FOLDER / "samples" / name).open(encoding="utf-8", newline="") as handle:
            texts += [row[0] for row in list(csv.reader(handle))[1:]]
    return texts


def wordpiece(texts: list[str]) -> str:
    """vocab.txt: special tokens, punctuation, characters alone and within words, the most frequent words."""
    counts = Counter(word for text in texts for word in re.findall(r"[a-z0-9]{2,}", text.lower()))
    words = sorted(counts, key=lambda word: (-counts[word], word))[:WORDS]
    entries = [*WORDPIECE_SPECIALS, *PUNCTUATION, *CHARACTERS, *(f"##{letter}" for letter in CHARACTERS), *words]
    return "\n".join(entries) + "\n"


def byte_symbols() -> dict[int, str]:
    """The printable character that stands for each byte in GPT-2's byte-level BPE (Radford et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


def bpe(texts: list[str]) -> tuple[str, str]:
    """vocab.json and merges.txt, trained as in Sennrich et al. 2016 on words with their leading space."""
    symbols = byte_symbols()
    pieces = Counter(piece for text in texts for piece in re.findall(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+", text))
    words = {tuple(symbols[byte] for byte in piece.encode()): count for piece, count in pieces.items()}
    merges: list[tuple[str, str]] = []
    while len(merges) < MERGES:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {_merged(word, best): count for word, count in words.items()}
    tokens = [*BPE_SPECIALS, *(symbols[byte] for byte in sorted(symbols)), *(a + b for a, b in merges), "<mask>"]
    numbered = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    return json.dumps(numbered, ensure_ascii=False, indent=0) + "\n", "\n".join(lines) + "\n"


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for symbol in word:
        # What this merge made is longer than its left half, so "a a a" becomes "aa a".
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return tuple(out)


def files() -> dict[str, str]:
    """Path below vocabularies/ -> text."""
    texts = sample_texts(SAMPLES)
    vocabulary, merges = bpe(texts)
    lower = {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 512}
    byte_level = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False, "model_max_length": 512}
    return {
        "nano_uncased/vocab.txt": wordpiece(texts),
        "nano_uncased/tokenizer_config.json": json.dumps(lower, indent=2) + "\n",
        "nano_films/vocab.txt": wordpiece(sample_texts(FILMS)),
        "nano_films/tokenizer_config.json": json.dumps(lower, indent=2) + "\n",
        "nano_bpe/vocab.json": vocabulary,
        "nano_bpe/merges.txt": merges,
        "nano_bpe/tokenizer_config.json": json.dumps(byte_level, indent=2) + "\n",
    }


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    arguments = parser.parse_args()
    stale = 0
    for name, text in files().items():
        path = FOLDER / "vocabularies" / name
        if arguments.check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                print(f"{path} is stale: run python tools/make_vocabularies.py", file=sys.stderr)
                stale = 1
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"{path}: {len(text.splitlines())} lines")
    return stale


if __name__ == "__main__":
    sys.exit(main())
