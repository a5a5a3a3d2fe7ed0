"""What transformers and torch compute, written to a folder for the checks of every backend to read.

`python tests/on_backend/references.py FOLDER` makes, from fixed seeds:

    <family>-<activation>/   a nano classification checkpoint of transformers with its vocabulary
        reference.npz        a padded batch, its hidden states and its logits
    adamw.npz                weights of a small model before and after each of five torch.optim.AdamW steps
    losses.npz               logits, labels, row weights and torch's losses
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from zoo.data.catalog import vocabulary_folder

CLASSES = 3
LENGTHS = (16, 9, 5, 1)
DIMENSIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": (
        "Bert",
        "nano_uncased",
        {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64},
    ),
    "distilbert": ("DistilBert", "nano_uncased", {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 64}),
    "roberta": (
        "Roberta",
        "nano_bpe",
        {
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-5,
        },
    ),
}


def write_checkpoint(folder: Path, family: str, activation: str) -> None:
    """A checkpoint with random weights, and what it makes of a batch."""
    torch.manual_seed(0)
    name, vocabulary, dimensions = DIMENSIONS[family]
    shutil.copytree(vocabulary_folder(vocabulary), folder)
    entries = {"nano_uncased": 459, "nano_bpe": 661}[vocabulary]
    config = getattr(transformers, f"{name}Config")(
        vocab_size=entries,
        max_position_embeddings=34 if family == "roberta" else 32,
        num_labels=CLASSES,
        **{"activation" if family == "distilbert" else "hidden_act": activation},
        **dimensions,
    )
    model = getattr(transformers, f"{name}ForSequenceClassification")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases and layer norms too, or their places could be exchanged
            parameter.add_(torch.randn_like(parameter) * 0.15)
    model.save_pretrained(folder)

    random = np.random.default_rng(0)
    mask = (np.arange(max(LENGTHS))[None, :] < np.array(LENGTHS)[:, None]).astype(np.int32)
    token_ids = np.where(mask, random.integers(6, entries, mask.shape), config.pad_token_id).astype(np.int32)
    segment_ids = (mask * (np.arange(max(LENGTHS)) >= 4)).astype(np.int32)
    inputs = {"input_ids": torch.tensor(token_ids).long(), "attention_mask": torch.tensor(mask).long()}
    if family == "bert":
        inputs["token_type_ids"] = torch.tensor(segment_ids).long()
    with torch.no_grad():
        found = model(**inputs, output_hidden_states=True)
    np.savez(
        folder / "reference.npz",
        token_ids=token_ids,
        padding_mask=mask,
        segment_ids=segment_ids,
        hidden=found.hidden_states[-1].numpy(),
        logits=found.logits.numpy(),
    )


def write_adamw(path: Path) -> None:
    """Five steps on an embedding, its mean over the row, and a dense layer; tokens repeat within a batch.

    `full` has clipping, decay but not of the bias, a smaller rate for the embedding, and a rate that moves;
    `plain` has none of these.
    """
    random = np.random.default_rng(1)
    start = {
        "embeddings": random.normal(size=(7, 4)).astype(np.float32),
        "kernel": random.normal(size=(4, CLASSES)).astype(np.float32),
        "bias": random.normal(size=(CLASSES,)).astype(np.float32),
    }
    token_ids = random.integers(0, 4, (5, 6, 8)).astype(np.int32)  # ids 4 to 6 never occur
    labels = random.integers(0, CLASSES, (5, 6)).astype(np.int32)
    rates = np.array([1e-2, 2e-2, 1.5e-2, 1e-2, 5e-3], np.float32)
    arrays: dict[str, np.ndarray] = {"token_ids": token_ids, "labels": labels, "rates": rates}
    for kind in ("plain", "full"):
        weights = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in start.items()}
        decays = {"embeddings": 0.1, "kernel": 0.1, "bias": 0.0} if kind == "full" else dict.fromkeys(weights, 0.0)
        groups = [{"params": [weights[name]], "weight_decay": decays[name]} for name in weights]
        optimizer = torch.optim.AdamW(groups, lr=1e-2, eps=1e-8)
        for step in range(5):
            features = weights["embeddings"][torch.tensor(token_ids[step]).long()].mean(dim=1)
            logits = features @ weights["kernel"] + weights["bias"]
            torch.nn.functional.cross_entropy(logits, torch.tensor(labels[step]).long()).backward()
            if kind == "full":
                norm = torch.nn.utils.clip_grad_norm_(list(weights.values()), 0.1)
                assert norm > 0.1  # it does clip
                for group, factor in zip(optimizer.param_groups, (0.5, 1.0, 1.0), strict=True):
                    group["lr"] = float(rates[step]) * factor
            optimizer.step()
            optimizer.zero_grad()
            for name, value in weights.items():
                arrays[f"{kind}/{step}/{name}"] = value.detach().numpy().copy()
    np.savez(path, **arrays, **{f"start/{name}": value for name, value in start.items()})


def write_losses(path: Path) -> None:
    """Mean losses over the rows of weight 1, some of them extreme."""
    random = np.random.default_rng(2)
    many = (random.normal(size=(8, CLASSES)) * 3).astype(np.float32)
    many[0] = [80.0, -80.0, 0.0]
    one = (random.normal(size=(8, 1)) * 3).astype(np.float32)
    one[:2, 0] = [90.0, -90.0]
    classes = np.array([1, 0, 2, 1, 0, 2, 0, 0], np.int32)
    binary = np.array([0, 0, 1, 1, 0, 1, 0, 0], np.int32)
    real = slice(0, 6)
    softmax = torch.nn.functional.cross_entropy(torch.tensor(many[real]), torch.tensor(classes[real]).long())
    sigmoid = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(one[real, 0]), torch.tensor(binary[real]).float()
    )
    weights = np.array([1, 1, 1, 1, 1, 1, 0, 0], np.float32)
    np.savez(
        path,
        weights=weights,
        classifier_logits=many,
        classifier_labels=classes,
        classifier_loss=softmax.item(),
        binary_logits=one,
        binary_labels=binary,
        binary_loss=sigmoid.item(),
    )


def main(folder: Path) -> None:
    for family in DIMENSIONS:
        for activation in ("gelu", "gelu_new"):
            write_checkpoint(folder / f"{family}-{activation}", family, activation)
    write_adamw(folder / "adamw.npz")
    write_losses(folder / "losses.npz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
