"""Recipes at full size without a network: checkpoints drawn from a seed, and texts as long as reviews are.

In comes a `Subject`; out comes a folder with its checkpoint, its texts and a recipe of both. Texts are made of words of
a vocabulary of their own. Needed are torch and transformers, which write the checkpoint.
"""

from __future__ import annotations

import csv
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

WORDS = 30_000
TRAIN_ROWS, TEST_ROWS = 1_600, 512
REVIEW_MEDIAN, REVIEW_SPREAD = 230.0, 0.66
"""Tokens of an IMDB review: the median, and the standard deviation of the logarithm; 1 in 9 is longer than 512."""
LENGTHS = 128
"""Texts are of multiples of this many tokens, so that a compiler traces few shapes."""
SPECIAL = 2


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model at full size, and the recipe whose settings it is trained with."""

    family: str
    layers: int
    heads: int
    hidden: int
    max_length: int
    batch_size: int

    @property
    def name(self) -> str:
        return f"{self.family}_{self.layers}x{self.hidden}_{self.batch_size}x{self.max_length}"


SUBJECTS = (
    Subject(family="bert", layers=12, heads=12, hidden=768, max_length=512, batch_size=32),
    Subject(family="distilbert", layers=6, heads=12, hidden=768, max_length=512, batch_size=32),
    Subject(family="roberta", layers=24, heads=16, hidden=1024, max_length=128, batch_size=32),
)
"""imdb_bert, imdb_distilbert and sst2_roberta."""


def smaller(subject: Subject) -> Subject:
    """The same in kind, for a machine without an accelerator."""
    return Subject(family=subject.family, layers=1, heads=2, hidden=64, max_length=128, batch_size=8)


def make(subject: Subject, folder: Path) -> Path:
    """A recipe with its drawn checkpoint and its texts in a folder; the recipe's path."""
    folder.mkdir(parents=True)
    words = ["".join(letters) for letters in islice(product(string.ascii_lowercase, repeat=5), WORDS)]
    rows = {"train": TRAIN_ROWS, "test": TEST_ROWS}
    random = np.random.Generator(np.random.PCG64(0))
    for split, count in rows.items():
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(["text", "label"])
            for row, text in enumerate(texts(words, count, subject.max_length, random)):
                table.writerow([text, row % 2])
    checkpoint(subject, words, folder / "checkpoint")
    recipe = {
        "name": subject.name,
        "data": {
            "files": {split: str(folder / f"{split}.csv") for split in rows},
            "validation": {"fraction": 0.05},
        },
        "tokens": {"max_length": subject.max_length},
        "model": {
            "backbone": {"family": subject.family, "preset": str(folder / "checkpoint"), "dropout": 0.1},
            "head": {"type": "classifier", "dropout": 0.1},
        },
        "training": {
            "epochs": 1,
            "batch_size": subject.batch_size,
            "precision": "auto",
            "optimizer": {"type": "adamw", "learning_rate": 2.0e-5, "weight_decay": 0.01},
        },
    }
    path = folder / f"{subject.name}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path


def texts(words: Sequence[str], count: int, max_length: int, random: np.random.Generator) -> Iterator[str]:
    """Texts as long as reviews, cut at `max_length` tokens; each word is a token."""
    drawn = np.exp(np.log(REVIEW_MEDIAN) + REVIEW_SPREAD * random.standard_normal(count)) * max_length / 512
    step = min(LENGTHS, max_length // 4)
    lengths = np.clip(np.ceil(drawn / step).astype(int) * step, step, max_length)
    for length in lengths:
        yield " ".join(words[place] for place in random.integers(0, len(words), length - SPECIAL))


def checkpoint(subject: Subject, words: Sequence[str], folder: Path) -> None:
    """A Hugging Face checkpoint, its weights drawn from a seed, with a tokenizer that knows the words."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    roberta = subject.family == "roberta"
    sizes: dict[str, Any] = {"vocab_size": 0, "max_position_embeddings": 514 if roberta else 512}
    torch.manual_seed(0)
    if roberta:
        specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        # Merges that make each word one piece, left to right; in the middle of a text it begins with a space.
        pieces: dict[str, int] = {piece: number for number, piece in enumerate([*specials, *letters])}
        merges: list[tuple[str, str]] = []
        for word in (f"Ġ{word}" for word in words):
            for end in range(1, len(word)):
                pair = (word[:end], word[end])
                if pair[0] + pair[1] not in pieces:
                    pieces[pair[0] + pair[1]] = len(pieces)
                    merges.append(pair)
        tokenizer = Tokenizer(models.BPE(pieces, merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
        fast: Any = transformers.RobertaTokenizerFast(tokenizer_object=tokenizer)
    else:
        folder.mkdir()
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        (folder / "vocab.txt").write_text("\n".join([*specials, *words, ""]), encoding="utf-8")
        # An alias that transformers makes when it is imported.
        fast = transformers.BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True)
    sizes["vocab_size"] = len(fast)
    if subject.family == "distilbert":
        config: Any = transformers.DistilBertConfig(
            **sizes, n_layers=subject.layers, n_heads=subject.heads, dim=subject.hidden, hidden_dim=4 * subject.hidden
        )
        model: Any = transformers.DistilBertModel(config)
    else:
        shape: dict[str, Any] = {
            "num_hidden_layers": subject.layers,
            "num_attention_heads": subject.heads,
            "hidden_size": subject.hidden,
            "intermediate_size": 4 * subject.hidden,
        }
        if roberta:
            model = transformers.RobertaModel(
                transformers.RobertaConfig(**sizes, **shape, type_vocab_size=1, layer_norm_eps=1e-5)
            )
        else:
            model = transformers.BertModel(transformers.BertConfig(**sizes, **shape))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
