"""Optimizers beside AdamW as torch computes them, or else as their papers write them, in float64; references.py keeps
what comes of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.recipe.optimizers import SGD, Adafactor, Adam, AdamW, Lamb, Lion, Muon, Optimizer

STEPS, CLASSES = 20, 3
SHAPES = {
    "token_embedding/embeddings": (7, 4),
    "transformer_layer_0/query/kernel": (4, 2, 3),
    "transformer_layer_0/query/bias": (2, 3),
    "transformer_layer_0/attention_output/kernel": (2, 3, 4),
    "transformer_layer_0/attention_output/bias": (4,),
    "logits/kernel": (4, CLASSES),
    "logits/bias": (CLASSES,),
}
"""Variables of the model of one layer, as Keras lays them out."""
MATRICES = {"transformer_layer_0/query/kernel": (4, 6), "transformer_layer_0/attention_output/kernel": (6, 4)}
FACTORS = {"token_embedding": 0.5, "transformer_layer_0": 1.0, "logits": 3.0}
"""On the rate, with layer_decay 0.5 and a head_rate of three times the learning rate."""

FULL: dict[str, Any] = {
    "learning_rate": 1e-2,
    "clip_norm": 0.1,
    "weight_decay": 0.1,
    "layer_decay": 0.5,
    "head_rate": 3e-2,
}
CASES: dict[str, Optimizer] = {
    "adam": Adam(epsilon=1e-4, **FULL),
    "sgd": SGD(momentum=0.9, **FULL),
    "sgd-nesterov": SGD(momentum=0.8, nesterov=True, **FULL),
    "lion": Lion(**FULL),
    "lamb": Lamb(**FULL),
    "adafactor": Adafactor(**FULL),
    "muon": Muon(epsilon=1e-4, **FULL),
}
Rule = Callable[[dict[str, Any], np.ndarray, np.ndarray, int, float, float], np.ndarray]
"""(state of the array, gradient, weights, step from 1, rate, decay) -> the weights after it."""


def lion(config: Lion) -> Rule:
    """Chen et al. 2023, algorithm 2."""

    def rule(state: dict[str, Any], g: np.ndarray, w: np.ndarray, t: int, rate: float, decay: float) -> np.ndarray:
        m = state.get("m", np.zeros_like(w))
        update = np.sign(config.beta_1 * m + (1 - config.beta_1) * g)
        state["m"] = config.beta_2 * m + (1 - config.beta_2) * g
        return np.asarray(w - rate * (update + decay * w))

    return rule


def lamb(config: Lamb) -> Rule:
    """You et al. 2020, algorithm 2."""

    def rule(state: dict[str, Any], g: np.ndarray, w: np.ndarray, t: int, rate: float, decay: float) -> np.ndarray:
        m = state["m"] = config.beta_1 * state.get("m", 0.0) + (1 - config.beta_1) * g
        v = state["v"] = config.beta_2 * state.get("v", 0.0) + (1 - config.beta_2) * g**2
        r = m / (1 - config.beta_1**t) / (np.sqrt(v / (1 - config.beta_2**t)) + config.epsilon)
        update = r + decay * w
        norm, own = np.linalg.norm(update), np.linalg.norm(w)
        return np.asarray(w - rate * (own / norm if own and norm else 1.0) * update)

    return rule


def muon(config: Muon) -> Rule:
    """github.com/KellerJordan/Muon, in float64 in place of bfloat16, with the scale of Liu et al. 2025, equation 4."""

    def rule(state: dict[str, Any], g: np.ndarray, w: np.ndarray, t: int, rate: float, decay: float) -> np.ndarray:
        m = state["m"] = config.momentum * state.get("m", 0.0) + g
        x = g + config.momentum * m if config.nesterov else m
        wide = x if x.shape[0] <= x.shape[1] else x.T
        wide = wide / (np.linalg.norm(wide) + 1e-7)
        for _ in range(config.iterations):
            a = wide @ wide.T
            wide = 3.4445 * wide + (-4.7750 * a + 2.0315 * a @ a) @ wide
        x = wide if x.shape[0] <= x.shape[1] else wide.T
        return np.asarray(w - rate * decay * w - rate * 0.2 * np.sqrt(max(w.shape)) * x)

    return rule


def of_torch(config: Optimizer, weights: dict[str, Any], decays: dict[str, float]) -> torch.optim.Optimizer:
    """torch's own, a group a variable; Adafactor's with what the paper adds to squares, which is nothing in float64."""
    groups = [{"params": [weights[path]], "weight_decay": decays[path]} for path in weights]
    match config:
        case Adam():
            return torch.optim.Adam(groups, betas=(config.beta_1, config.beta_2), eps=config.epsilon)
        case AdamW() | Muon():
            return torch.optim.AdamW(groups, betas=(config.beta_1, config.beta_2), eps=config.epsilon)
        case SGD():
            return torch.optim.SGD(groups, momentum=config.momentum, nesterov=config.nesterov)
        case Adafactor():
            return torch.optim.Adafactor(groups, eps=(config.epsilon_1, config.epsilon_2))
    raise ValueError(config)


def write_optimizers(path: Path) -> None:
    """Twenty steps on an embedding, its mean over the row, and three products; tokens repeat within a batch, and rates
    move. All tokens occur in the first batch, as torch's Adafactor divides by their squares.
    """
    random = np.random.default_rng(4)
    start = {name: random.normal(0.0, 0.5, size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    token_ids = random.integers(0, 5, (STEPS, 6, 8)).astype(np.int32)
    token_ids[0].flat[:7] = np.arange(7)
    labels = random.integers(0, CLASSES, (STEPS, 6)).astype(np.int32)
    rates = (1e-2 * random.uniform(0.5, 2.0, STEPS)).astype(np.float32)
    arrays = {"token_ids": token_ids, "labels": labels, "rates": rates}
    for kind, config in CASES.items():
        found = _trained(config, start, token_ids, labels, rates)
        arrays |= {f"{kind}/{name}": np.stack([state[name] for state in found]) for name in start}
    np.savez(path, **arrays, **{f"start/{name}": value for name, value in start.items()})


def _trained(
    config: Optimizer, start: dict[str, np.ndarray], token_ids: np.ndarray, labels: np.ndarray, rates: np.ndarray
) -> list[dict[str, np.ndarray]]:
    """The weights after each step."""
    # The attention's arrays are matrices and vectors, as torch has them.
    shapes = {
        path: MATRICES.get(path, (value.size,) if path.endswith("bias") else value.shape)
        for path, value in start.items()
    }
    weights = {
        path: torch.nn.Parameter(torch.tensor(value.reshape(shapes[path]), dtype=torch.float64))
        for path, value in start.items()
    }
    decays = {path: 0.0 if path.endswith("bias") else config.weight_decay for path in weights}
    factors = {path: FACTORS[path.split("/")[0]] for path in weights}
    own: dict[str, Rule] = {}
    match config:
        case Lion():
            own = dict.fromkeys(weights, lion(config))
        case Lamb():
            own = dict.fromkeys(weights, lamb(config))
        case Muon():
            own = dict.fromkeys(MATRICES, muon(config))
    others = {path: value for path, value in weights.items() if path not in own}
    optimizer = of_torch(config, others, decays) if others else None
    states: dict[str, dict[str, Any]] = {path: {} for path in own}
    found = []
    for step, (ids, classes, rate) in enumerate(zip(token_ids, labels, rates.tolist(), strict=True), 1):
        embeddings, query, query_bias, output, output_bias, kernel, bias = weights.values()
        features = embeddings[torch.tensor(ids).long()].mean(dim=1)
        features = torch.tanh(features @ query + query_bias) @ output + output_bias
        loss = torch.nn.functional.cross_entropy(features @ kernel + bias, torch.tensor(classes).long())
        loss.backward()
        if config.clip_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(list(weights.values()), config.clip_norm)
            assert step > 1 or norm > config.clip_norm  # it does clip
        for group, path in zip(optimizer.param_groups if optimizer else (), others, strict=True):
            group["lr"] = rate * factors[path]
        if optimizer:
            optimizer.step()
        for path, rule in own.items():
            gradient, value = weights[path].grad, weights[path].detach()
            moved = rule(states[path], gradient.numpy(), value.numpy(), step, rate * factors[path], decays[path])
            weights[path].data = torch.tensor(moved)
        for value in weights.values():
            value.grad = None
        found.append({path: value.detach().numpy().reshape(SHAPES[path]).copy() for path, value in weights.items()})
    return found
