"""What transformers and torch compute, written to a folder for the checks of every backend to read.

`python tests/on_backend/references.py FOLDER` makes, from fixed seeds:

    <family>-<activation>/   a nano classification checkpoint of transformers with its vocabulary
        reference.npz        a padded batch, its hidden states and its logits; of tokens also labels and loss
    <family>-<kind>/         the same of another kind, see KINDS; of answers rows of one length
    <family>-gelu/ and minilm/
        explained.npz        a text's token ids, the attention of all heads, and Captum's integrated gradients
    minilm/                  a checkpoint of the real MiniLM, from the cache that ZOO_CACHE names, with a random head
    adamw.npz                weights of a small model before and after each of five torch.optim.AdamW steps
    optimizers.npz           the same of other optimizers, by rules.py
    losses.npz               logits, labels, row weights and torch's losses
    distilled.npz            the same with a teacher's logits
    adversarial/             bert-gelu's gradients in place of its weights, of a step against an adversary
        reference.npz        that step's labels and loss, and how far embeddings were moved
    lora.npz                 peft's adapters on bert-gelu, its logits with them, and losses of steps on them
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rules import write_optimizers

from tools.comparisons.reference import (
    ANSWERS,
    CLASSES,
    CLASSIFIER,
    MASKED,
    TOKENS,
    VOCABULARIES,
    arguments,
    drawn_labels,
    logits_of,
    minilm_model,
    nano_model,
)
from zoo.data.catalog import vocabulary_folder
from zoo.data.tokens import load_tokenizer
from zoo.recipe.types import Tokens

LENGTHS = (16, 9, 5, 1)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": (CLASSIFIER, {"num_labels": CLASSES}),
    "gelu_new": (CLASSIFIER, {"num_labels": CLASSES, "hidden_act": "gelu_new"}),
    # A bare encoder; RoBERTa with two token types, all of whose tokens are of the first.
    "bare": ("Model", {"type_vocab_size": 2}),
    # A masked language model, with an epsilon that is far from the usual one.
    "masked": (MASKED, {"layer_norm_eps": 1e-3}),
    "two": (CLASSIFIER, {"id2label": {0: "POSITIVE", 1: "NEGATIVE"}}),
    "five": (CLASSIFIER, {"num_labels": 5}),
    "one": (CLASSIFIER, {"num_labels": 1, "problem_type": "multi_label_classification"}),
    "tokens": (TOKENS, {"num_labels": 5}),
    "answers": (ANSWERS, {}),
}
"""What the checkpoints are written by, and what is particular to their configs, in BERT's words."""
EXPLAINED = {
    "nano": ("a touching film, a delight to see", 1),
    "minilm": ("The plot is thin and the jokes are old, but Ms. Kovač is a wonder: I'd see it again tomorrow!", 2),
}
"""A text, and the class that is explained."""
PATH = 256
"""Points of Captum's path."""
DISTILBERT_WORDS = {"hidden_act": "activation"}


def write_checkpoint(folder: Path, family: str, kind: str) -> None:
    """A checkpoint with random weights, and what it makes of a batch."""
    task, particular = KINDS[kind]
    if family == "distilbert":
        particular = {DISTILBERT_WORDS.get(key, key): value for key, value in particular.items()}
    shutil.copytree(vocabulary_folder(VOCABULARIES[family]), folder)
    model = nano_model(family, particular, task=task)
    model.save_pretrained(folder)

    random = np.random.default_rng(0)
    # transformers' loss of answers leaves no padding out.
    lengths = np.full(len(LENGTHS), max(LENGTHS)) if task == ANSWERS else np.array(LENGTHS)
    mask = (np.arange(max(LENGTHS))[None, :] < lengths[:, None]).astype(np.int32)
    drawn = random.integers(6, model.config.vocab_size, mask.shape)
    token_ids = np.where(mask, drawn, model.config.pad_token_id).astype(np.int32)
    segment_ids = (mask * (np.arange(max(LENGTHS)) >= 4)).astype(np.int32)
    batch = {"token_ids": token_ids, "padding_mask": mask, "segment_ids": segment_ids}
    labels = drawn_labels(task, mask, random) if task in (MASKED, TOKENS, ANSWERS) else {}
    with torch.no_grad():
        found = model(**arguments(model, batch | labels), output_hidden_states=True)
    np.savez(
        folder / "reference.npz",
        **batch,
        hidden=found.hidden_states[-1].numpy(),
        **({"logits": logits_of(found)} if task != "Model" else {}),
        **({**labels, "loss": found.loss.item()} if labels else {}),
    )
    if kind == "gelu":
        write_explained(folder, model, *EXPLAINED["nano"])


def write_explained(folder: Path, model: Any, text: str, target: int) -> None:
    """Attention [layers, heads, length, length] and integrated gradients [length] of a text's token embeddings.

    The baseline has [PAD] in place of all tokens but the first and the last.
    """
    from captum.attr import LayerIntegratedGradients

    tokenizer = load_tokenizer(folder)
    ids = torch.tensor(tokenizer.encode([text], None, Tokens(max_length=64)).ids[None].copy()).long()
    empty = torch.full_like(ids, tokenizer.specials.pad)
    empty[:, [0, -1]] = ids[:, [0, -1]]
    model.set_attn_implementation("eager")  # no other hands its weights out
    with torch.no_grad():
        attention = model(ids, attention_mask=torch.ones_like(ids), output_attentions=True).attentions

    def logits(ids: Any) -> Any:
        return model(ids, attention_mask=torch.ones_like(ids)).logits

    layer = model.base_model.embeddings.word_embeddings
    found = LayerIntegratedGradients(logits, layer).attribute(
        ids, baselines=empty, target=target, n_steps=PATH, internal_batch_size=32
    )
    np.savez(
        folder / "explained.npz",
        ids=ids[0].numpy().astype(np.int32),
        attention=torch.cat(attention).numpy(),
        scores=found[0].sum(dim=-1).detach().numpy(),
        logits=logits(ids)[0].detach().numpy(),
    )


def write_minilm(folder: Path) -> None:
    """The real MiniLM as a classification checkpoint, and what it makes of a text."""
    model, source = minilm_model()
    with torch.no_grad():
        model.classifier.weight.mul_(20.0)  # logits that differ, as those of a trained head
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    model.save_pretrained(folder)
    write_explained(folder, model, *EXPLAINED["minilm"])


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
    several = random.integers(0, 2, (8, CLASSES)).astype(np.int32)
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(many[real]), torch.tensor(several[real]).float()
    )
    numbers = random.normal(size=(8, CLASSES)).astype(np.float32)
    squared = torch.nn.functional.mse_loss(torch.tensor(many[real]), torch.tensor(numbers[real]))
    words = (random.normal(size=(8, 4, CLASSES)) * 3).astype(np.float32)
    tags = random.integers(-1, CLASSES, (8, 4)).astype(np.int32)
    by_word = torch.nn.functional.cross_entropy(
        torch.tensor(words[real]).flatten(0, 1), torch.tensor(tags[real]).long().flatten(), ignore_index=-1
    )
    weights = np.array([1, 1, 1, 1, 1, 1, 0, 0], np.float32)
    shares = torch.tensor([0.5, 3.0, 1.25])
    given = {"classifier": (many, classes), "tokens": (words.reshape(8, 4 * CLASSES), tags)}
    kinds: dict[str, dict[str, Any]] = {"weighted": {"weight": shares}, "smoothed": {"label_smoothing": 0.3}}
    shaped: dict[str, float] = {}
    for head, (outputs, targets) in given.items():
        flat = torch.tensor(outputs[real]).reshape(-1, CLASSES), torch.tensor(targets[real]).long().flatten()
        for kind, options in kinds.items():
            value = torch.nn.functional.cross_entropy(*flat, ignore_index=-1, **options)
            shaped[f"{head}_{kind}_loss"] = value.item()
    shaped["multilabel_weighted_loss"] = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(many[real]), torch.tensor(several[real]).float(), pos_weight=shares
    ).item()
    np.savez(
        path,
        weights=weights,
        classifier_logits=many,
        classifier_labels=classes,
        classifier_loss=softmax.item(),
        binary_logits=one,
        binary_labels=binary,
        binary_loss=sigmoid.item(),
        regression_logits=many,
        regression_labels=numbers,
        regression_loss=squared.item(),
        multilabel_logits=many,
        multilabel_labels=several,
        multilabel_loss=each.item(),
        tokens_logits=words,
        tokens_labels=tags,
        tokens_loss=by_word.item(),
        class_weights=shares.numpy(),
        **shaped,
    )


def write_distilled(path: Path) -> None:
    """Losses of Hinton et al. 2015 by torch's kl_div, at a temperature of 3 and three tenths for the teacher."""
    temperature, weight, functional = 3.0, 0.3, torch.nn.functional
    found = np.load(path.with_name("losses.npz"))
    random, real, arrays = np.random.default_rng(3), slice(0, 6), dict[str, Any]()
    for head in ("classifier", "binary", "multilabel"):
        logits = torch.tensor(found[f"{head}_logits"])
        teacher = torch.tensor((random.normal(size=logits.shape) * 3).astype(np.float32))
        ours, theirs = (each[real] / temperature for each in (logits, teacher))
        if head == "classifier":
            apart = functional.kl_div(ours.log_softmax(-1), theirs.softmax(-1), reduction="batchmean")
        else:  # each unit is of two values
            both = [torch.stack([each, -each], -1) for each in (ours, theirs)]
            kl = functional.kl_div(functional.logsigmoid(both[0]), both[1].sigmoid(), reduction="none")
            apart = kl.sum(-1).mean()
        arrays[f"{head}_teacher"] = teacher.numpy()
        arrays[f"{head}_loss"] = (1 - weight) * found[f"{head}_loss"] + weight * temperature**2 * apart.item()
    np.savez(path, **arrays)


def write_contrastive(folder: Path, path: Path) -> None:
    """Of a checkpoint the embeddings as sentence-transformers pools them, and its CosineSimilarityLoss over as many
    pairs of one class as of two, with its gradient by the embeddings before they are scaled."""
    reference, functional = np.load(folder / "reference.npz"), torch.nn.functional
    mask = torch.tensor(reference["padding_mask"]).unsqueeze(-1).float()
    states = torch.tensor(reference["hidden"])
    embeddings = ((states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)).numpy()
    random = np.random.default_rng(5)
    vectors = torch.tensor(random.normal(size=(9, 8)).astype(np.float32), requires_grad=True)
    classes = np.array([0, 1, 2, 0, 0, 2, 1, 0, 3], np.int32)
    pairs = [(i, j) for i in range(9) for j in range(i)]
    same = [pair for pair in pairs if classes[pair[0]] == classes[pair[1]]]
    other = [pair for pair in pairs if pair not in same]
    drawn = torch.tensor(same * len(other) + other * len(same))
    labels = torch.cat([torch.ones(len(drawn) // 2), torch.zeros(len(drawn) // 2)])
    loss = torch.nn.MSELoss()(torch.cosine_similarity(vectors[drawn[:, 0]], vectors[drawn[:, 1]]), labels)
    loss.backward()
    np.savez(
        path,
        embeddings=functional.normalize(torch.tensor(embeddings), dim=1).numpy(),
        vectors=vectors.detach().numpy(),
        classes=classes,
        loss=loss.item(),
        gradient=vectors.grad.numpy(),
    )


def write_lora(folder: Path, path: Path) -> None:
    """Adapters of peft on all products of a checkpoint's layers, its logits with them, and the losses of three
    torch.optim.AdamW steps on them, on the pooler and on the classifier, dropout off."""
    from peft import LoraConfig, get_peft_model
    from transformers import BertForSequenceClassification

    config = LoraConfig(
        r=4,
        lora_alpha=8,
        lora_dropout=0.0,
        target_modules=["query", "key", "value", "intermediate.dense", "output.dense"],
        modules_to_save=["pooler", "classifier"],
    )
    model = get_peft_model(BertForSequenceClassification.from_pretrained(folder), config).eval()
    random = torch.Generator().manual_seed(0)
    arrays: dict[str, np.ndarray] = {}
    for name, value in model.named_parameters():
        if ".lora_" in name:
            value.data = torch.randn(value.shape, generator=random) * 0.2
            place = name.removeprefix("base_model.model.bert.encoder.layer.").removesuffix(".default.weight")
            arrays[place] = value.detach().numpy().T.copy()
    batch = np.load(folder / "reference.npz")
    labels = torch.tensor([0, 1, 2, 0])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
    losses = []
    for _ in range(3):
        found = model(**arguments(model.base_model.model, batch), labels=labels)
        if not losses:
            arrays["logits"] = found.logits.detach().numpy()
        losses.append(found.loss.item())
        found.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    np.savez(path, **arrays, labels=labels.numpy().astype(np.int32), losses=np.array(losses))


def write_adversarial(source: Path, folder: Path) -> None:
    """The fast gradient method on a checkpoint, dropout off: each row's word embeddings moved by a norm of a half.

    As weights the gradients of both losses together; labels and weights [rows], loss, the mean over rows by weight
    before they are moved, and shift, what is added to them [rows, length, hidden].
    """
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification.from_pretrained(source).eval()
    batch, labels = np.load(source / "reference.npz"), torch.tensor([0, 1, 2, 0])
    given = arguments(model, batch)
    embedded = model.bert.embeddings.word_embeddings(given.pop("input_ids"))
    weights = torch.tensor([1.0, 0.25, 2.0, 0.5])

    def mean(embedded: Any) -> Any:
        logits = model(**given, inputs_embeds=embedded).logits
        each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        return (each * weights).sum() / weights.sum()

    loss = mean(embedded)
    (gradient,) = torch.autograd.grad(loss, embedded, retain_graph=True)
    shift = 0.5 * gradient / gradient.flatten(1).norm(dim=1)[:, None, None]
    moved = mean(embedded + shift)
    assert moved > 1.1 * loss
    parameters = list(model.parameters())
    for parameter, value in zip(parameters, torch.autograd.grad(loss + moved, parameters), strict=True):
        parameter.data = value
    model.save_pretrained(folder)
    told = {"labels": labels.numpy().astype(np.int32), "weights": weights.numpy(), "loss": loss.item()}
    np.savez(folder / "reference.npz", **told, shift=shift.numpy())


def main(folder: Path) -> None:
    for family in VOCABULARIES:
        for kind in KINDS:
            write_checkpoint(folder / f"{family}-{kind}", family, kind)
    write_minilm(folder / "minilm")
    write_adamw(folder / "adamw.npz")
    write_optimizers(folder / "optimizers.npz")
    write_losses(folder / "losses.npz")
    write_distilled(folder / "distilled.npz")
    for family in VOCABULARIES:
        write_contrastive(folder / f"{family}-gelu", folder / f"{family}-contrastive.npz")
    write_adversarial(folder / "bert-gelu", folder / "adversarial")
    write_lora(folder / "bert-gelu", folder / "lora.npz")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
