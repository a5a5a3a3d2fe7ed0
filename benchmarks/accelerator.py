"""A machine with an accelerator, judged in minutes: is what it computes right, then how fast, beside the peer.

    python benchmarks/accelerator.py --out DIR           # what `make gpu-bench` runs
    python benchmarks/accelerator.py --out DIR --small   # the same at a hundredth of the size, on any machine

Nothing is fetched: checkpoints of full size are drawn from a seed, and texts are made of words of a vocabulary of their
own, as long as reviews are. First the losses of 20 steps of each family, in each precision that the device has, beside
those that a CPU computed (tests/golden). Then `compare.py --speed-only` for BERT-Base and DistilBERT at 512 tokens and
RoBERTa-large at 128. Into DIR go correctness.json and a folder of results a model. Exit code 0; 1 where a process
failed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import yaml  # noqa: E402

from tools import golden_losses  # noqa: E402
from zoo.backend import Precision, activate, installed, own_process  # noqa: E402

MINUTES = 9.0
"""No part begins later than this."""
WORDS = 30_000
TRAIN_ROWS, TEST_ROWS = 3_200, 512
REVIEW_MEDIAN, REVIEW_SPREAD = 230.0, 0.66
"""Tokens of an IMDB review: the median, and the standard deviation of the logarithm; 1 in 9 is longer than 512."""
LENGTHS = 128
"""Texts are of multiples of this many tokens, so that a compiler traces few shapes."""
SPECIAL = 2
PRECISIONS: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
PEERS = ("hf_tuned", "hf_pipeline")
"""All processes hold the one device together: a peer that is not at its best would only take memory."""


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


# --- is it right? -------------------------------------------------------------------------------


def losses_of_this_process(precision: Precision) -> dict[str, list[float]] | None:
    """The losses of the golden cases, on the active backend and this device; None where it does not multiply so."""
    own_process()
    if precision not in activate().precisions():
        return None
    changes = {"training.precision": precision}
    return {
        case: list(golden_losses.losses(name, {**given, **changes}))
        for case, (name, given) in golden_losses.CASES.items()
    }


def correctness(backend: str) -> dict[str, Any]:
    """How far losses here are from those that a CPU computed in float32, by precision and case; or why none.

    Of a precision that the device has not there is nothing.
    """
    kept = golden_losses.kept(backend)
    found: dict[str, Any] = {}
    for precision in PRECISIONS:
        words = [sys.executable, __file__, "--losses", precision]
        done = subprocess.run(
            words, env=os.environ | {"KERAS_BACKEND": backend}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            found[precision] = {"failed": done.stderr.strip().splitlines()[-12:]}
            continue
        here: dict[str, list[float]] | None = json.loads(done.stdout.splitlines()[-1])
        if here is None:
            continue
        found[precision] = {case: float(np.abs(np.subtract(here[case], kept[case])).max()) for case in kept}
    return found


# --- what is measured ---------------------------------------------------------------------------


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
        fast = transformers.BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True)  # type: ignore[attr-defined]
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


# --- all of it ----------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="DIR", help="a folder for what is found")
    parser.add_argument("--small", action="store_true", help="tiny models, to try the command")
    parser.add_argument("--backends", nargs="+", default=list(installed()), metavar="NAME", help="default: all here")
    parser.add_argument("--subjects", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="which models, from 0")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="blocks of each process")
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="M", help="no part begins later")
    parser.add_argument("--losses", choices=PRECISIONS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.losses:
        print(json.dumps(losses_of_this_process(options.losses)))
        return 0
    if options.out is None:
        parser.error("--out is needed")
    options.out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    code = 0
    right: dict[str, Any] = {}
    for backend in options.backends:
        right[backend] = correctness(backend)
        _say(begun, f"{backend}: {json.dumps(right[backend])}")
        (options.out / "correctness.json").write_text(json.dumps(right, indent=2) + "\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        for place in options.subjects:
            subject = smaller(SUBJECTS[place]) if options.small else SUBJECTS[place]
            if time.monotonic() - begun > 60.0 * options.minutes:
                _say(begun, f"{subject.name}: left out, the time is over")
                continue
            recipe = make(subject, Path(scratch) / subject.name)
            _say(begun, f"{subject.name}: checkpoint and texts are made")
            words = [sys.executable, str(ROOT / "benchmarks" / "compare.py"), "--speed-only", "--recipes", str(recipe)]
            words += ["--backends", *options.backends, "--peers", *PEERS, "--rounds", str(options.rounds)]
            done = subprocess.run([*words, "--out", str(options.out / subject.name)], check=False)
            code = max(code, done.returncode)
            _say(begun, f"{subject.name}: ended in {done.returncode}")
    failed = any("failed" in found for of in right.values() for found in of.values())
    return 1 if code or failed else 0


def _say(begun: float, text: str) -> None:
    print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
