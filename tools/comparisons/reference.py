"""What transformers and torch compute, written to a folder for the zoo to be held against.

    python -m tools.comparisons.reference FOLDER [--small]

Out come, from fixed seeds, in FOLDER:

    <case>/                  a preset that transformers saved
        forward.npz          a padded batch, the last hidden states and the logits of each row
        steps.npz            batches, and transformers' losses of as many torch.optim.AdamW steps on them
        stepped/             the weights after the first of these steps

A case is bert, distilbert or roberta with random nano weights, each with the two kinds of GELU and with each head of
HEADS, and minilm (the real one, with a random head for classes, on real reviews). Nothing here imports the zoo's models
or its optimizer.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import recipes
from tools.comparisons.rows import SMALL
from zoo.data.catalog import backbone_card, vocabulary_folder
from zoo.data.dataset import load_dataset
from zoo.data.sources import fetch_first

CLASSES = 3
CLASSIFIER, MASKED, TOKENS, ANSWERS = (
    *("ForSequenceClassification", "ForMaskedLM", "ForTokenClassification", "ForQuestionAnswering"),
)
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "masked": (MASKED, {}),
    "tokens": (TOKENS, {"num_labels": CLASSES}),
    "span": (ANSWERS, {}),
}
"""The task of the zoo -> what transformers calls its models after the family's name, and what stands in their
configs."""
LABELS = ("labels", "start_positions", "end_positions")
"""What transformers calls labels."""
IDS = (6, 40)
"""Token ids of nano batches: from a few dozen, so that many of them stand in a batch more than once."""
NANO_LENGTHS = (16, 9, 5, 1)
STEPS = 20
SMALL_STEPS = 6
WARMUP = 0.2
PEAK = {"nano": 1e-3, "minilm": 2e-4}
"""Peak learning rates: high enough that a step which goes astray by a hundredth of itself is seen."""
DECAY, EPSILON, CLIP = 0.1, 1e-6, 0.5
"""Weight decay, Adam's epsilon (BERT's own 1e-6, Devlin et al. 2019: the 1e-8 of torch lets rounding errors decide
which way a weight without a gradient goes, as the bias of attention's keys) and the norm that gradients are cut to."""

DIMENSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": (
        "Bert",
        {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64},
    ),
    "distilbert": ("DistilBert", {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 64}),
    "roberta": (
        "Roberta",
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
VOCABULARIES = {"bert": "nano_uncased", "distilbert": "nano_uncased", "roberta": "nano_bpe"}
ENTRIES = {"nano_uncased": 459, "nano_bpe": 661}


def nano_model(family: str, particular: Mapping[str, Any], *, task: str = CLASSIFIER) -> Any:
    """A small model of transformers with random weights, also of biases and norms: no two may be exchanged.

    Args:
        particular: what stands in its config beside the dimensions.
        task: what the class is called after the family's name.
    """
    torch.manual_seed(0)
    name, dimensions = DIMENSIONS[family]
    config = getattr(transformers, f"{name}Config")(
        vocab_size=ENTRIES[VOCABULARIES[family]],
        max_position_embeddings=34 if family == "roberta" else 32,
        **dimensions | dict(particular),
    )
    model = getattr(transformers, f"{name}{task}")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model


def nano_batches(
    family: str, count: int, pad: int, *, task: str = CLASSIFIER, lengths: Sequence[int] = NANO_LENGTHS
) -> list[dict[str, np.ndarray]]:
    """Batches of random ids, each of rows of these lengths; task: as `nano_model` has it."""
    random = np.random.default_rng(0)
    longest = max(lengths)
    mask = (np.arange(longest)[None, :] < np.array(lengths)[:, None]).astype(np.int32)
    found = []
    for _ in range(count):
        ids = np.where(mask, random.integers(*IDS, mask.shape), pad)
        segments = mask * (np.arange(longest) >= 4) if family == "bert" else mask * 0
        found.append(_batch(ids, mask, segments, drawn_labels(task, mask, random)))
    return found


def drawn_labels(task: str, mask: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Labels as transformers takes them: a class a row; an id or a class of every third token, -100 of the others; or
    the first and the last token of an answer.

    Args:
        task: as `nano_model` has it.
        mask: 1 at real tokens, [rows, length].
        random: draws them.
    """
    if task == CLASSIFIER:
        return {"labels": random.integers(0, CLASSES, len(mask))}
    if task == ANSWERS:
        places = np.sort(random.integers(0, mask.sum(axis=1)[:, None], (len(mask), 2)), axis=1)
        return {"start_positions": places[:, 0], "end_positions": places[:, 1]}
    drawn = random.integers(*(IDS if task == MASKED else (0, CLASSES)), mask.shape)
    return {"labels": np.where(mask * (np.arange(mask.shape[1]) % 3 == 0), drawn, -100)}


def minilm_model() -> Any:
    """The real MiniLM with a head drawn from a seed."""
    _, folder = fetch_first(backbone_card("minilm_l6_en_uncased").origins)
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification.from_pretrained(folder, num_labels=CLASSES).eval(), folder


def minilm_batches(folder: Path, count: int, rows: int, length: int) -> list[dict[str, np.ndarray]]:
    """Batches of real reviews in the original's own token ids; each padded to its longest row."""
    split = load_dataset(recipes.load("quickstart")).train
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    found = []
    for start in range(0, count * rows, rows):
        texts = list(split.texts[start : start + rows])
        given = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="np")
        labels = split.labels[start : start + rows] + (np.arange(rows) % 5 == 0)  # a third class, now and then
        found.append(_batch(given["input_ids"], given["attention_mask"], given["token_type_ids"], {"labels": labels}))
    return found


def _batch(ids: Any, mask: Any, segments: Any, labels: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays = {"token_ids": ids, "padding_mask": mask, "segment_ids": segments, **labels}
    return {name: np.asarray(value).astype(np.int32) for name, value in arrays.items()}


def arguments(model: Any, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A batch as transformers names it, with its labels if it has any."""
    given = {"input_ids": batch["token_ids"], "attention_mask": batch["padding_mask"]}
    if model.config.model_type == "bert":
        given["token_type_ids"] = batch["segment_ids"]
    given |= {name: batch[name] for name in LABELS if name in batch}
    return {name: torch.tensor(value).long() for name, value in given.items()}


def logits_of(found: Any) -> np.ndarray:
    """The logits of what a model of transformers gave; of answers [rows, length, 2], of their starts and ends."""
    both = (found.start_logits, found.end_logits) if "start_logits" in found else None
    logits: np.ndarray = (found.logits if both is None else torch.stack(both, dim=-1)).numpy()
    return logits


def write_forward(folder: Path, model: Any, batch: Mapping[str, np.ndarray]) -> None:
    """The last hidden states [batch, length, hidden] and logits [batch, ...], dropout off."""
    with torch.no_grad():
        found = model(**arguments(model, batch), output_hidden_states=True)
    np.savez(folder / "forward.npz", **batch, hidden=found.hidden_states[-1].numpy(), logits=logits_of(found))


def write_steps(folder: Path, model: Any, batches: Sequence[Mapping[str, np.ndarray]], peak: float) -> None:
    """Steps of torch.optim.AdamW, dropout off: weight decay groups, clipping, a warm-up and a linear fall."""
    if model.config.model_type == "roberta":
        # keras-hub's RoBERTa has no token type: the only one there is lies in the positions, where it is trained and
        # decays with them. What is compared is the training of that model.
        embeddings = model.roberta.embeddings
        types = embeddings.token_type_embeddings.weight.requires_grad_(False)
        with torch.no_grad():
            embeddings.position_embeddings.weight.add_(types)
            types.zero_()
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    without = [value for name, value in named if name.endswith("bias") or "LayerNorm" in name or "layer_norm" in name]
    kept = {id(value) for value in without}
    groups = [
        {"params": [value for _, value in named if id(value) not in kept], "weight_decay": DECAY},
        {"params": without, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=peak, eps=EPSILON)
    warm = round(WARMUP * len(batches) + 0.499)  # rounded up
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (step + 1) / (warm + 1) if step < warm else (len(batches) - step) / (len(batches) - warm),
    )
    losses, clipped = [], 0
    for step, batch in enumerate(batches):
        loss = model(**arguments(model, batch)).loss
        loss.backward()
        clipped += bool(torch.nn.utils.clip_grad_norm_([value for _, value in named], CLIP) > CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step == 0:
            model.save_pretrained(folder / "stepped")
    assert clipped, "no gradient was as long as the norm it is cut to: clipping is not compared"
    arrays = {f"{name}/{step}": value for step, batch in enumerate(batches) for name, value in batch.items()}
    np.savez(folder / "steps.npz", losses=np.array(losses), **arrays)


def write_case(folder: Path, model: Any, vocabulary: Path, batches: Sequence[Any], steps: int, peak: float) -> None:
    """All of a case: the last batch is for the forward pass, the first `steps` for training."""
    _copy_vocabulary(vocabulary, folder)
    model.save_pretrained(folder)
    write_forward(folder, model, batches[-1])
    if steps:
        _copy_vocabulary(vocabulary, folder / "stepped")
        write_steps(folder, model, batches[:steps], peak)


def _copy_vocabulary(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))


def main(folder: Path, *, small: bool) -> None:
    """Write all cases; `small` takes fewer steps, and fewer and shorter reviews."""
    steps = SMALL_STEPS if small else STEPS
    for family, vocabulary in VOCABULARIES.items():
        source = vocabulary_folder(vocabulary)
        for activation in ("gelu", "gelu_new"):
            key = "activation" if family == "distilbert" else "hidden_act"
            model = nano_model(family, {"num_labels": CLASSES, key: activation})
            batches = nano_batches(family, steps + 1, model.config.pad_token_id)
            trained = steps if activation == "gelu" else 0
            write_case(folder / f"{family}-{activation}", model, source, batches, trained, PEAK["nano"])
        for name, (task, particular) in HEADS.items():
            if small and f"{family}-{name}" not in SMALL:
                continue
            model = nano_model(family, particular, task=task)
            # transformers' loss of answers leaves no padding out.
            lengths = [max(NANO_LENGTHS)] * len(NANO_LENGTHS) if task == ANSWERS else NANO_LENGTHS
            batches = nano_batches(family, steps, model.config.pad_token_id, task=task, lengths=lengths)
            batches += nano_batches(family, 1, model.config.pad_token_id, task=task)
            write_case(folder / f"{family}-{name}", model, source, batches, steps, PEAK["nano"])
    model, source = minilm_model()
    batches = minilm_batches(source, steps, rows=4 if small else 8, length=16 if small else 32)
    batches += minilm_batches(source, 1, rows=8 if small else 32, length=48 if small else 128)
    write_case(folder / "minilm", model, source, batches, steps, PEAK["minilm"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    main(given.folder, small=given.small)
