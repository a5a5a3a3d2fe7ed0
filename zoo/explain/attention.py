"""Figures of a model's attention, with NumPy alone.

In come the weights of one text, [layers, heads, length, length], the last two query and key, those of a query summing
to 1; out come arrays that say how widely and how far each head looks, and from which tokens a position is made. Nothing
is refused.
"""

from __future__ import annotations

import numpy as np

__all__ = ["distance", "entropy", "rollout"]


def entropy(weights: np.ndarray) -> np.ndarray:
    """How widely each head looks, [layers, heads] float64 in nats: 0 for one token, log(length) for all alike.

    The entropy of each query's weights, the mean over queries (Clark et al. 2019, section 3.4).
    """
    shares = weights.astype(np.float64)
    found: np.ndarray = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=-1).mean(axis=-1)
    return found


def distance(weights: np.ndarray) -> np.ndarray:
    """How far each head looks, [layers, heads] float64 in tokens: the mean distance of query and key, by weight."""
    places = np.arange(weights.shape[-1])
    apart = np.abs(places[:, None] - places[None, :])
    found: np.ndarray = (weights * apart).sum(axis=-1, dtype=np.float64).mean(axis=-1)
    return found


def rollout(weights: np.ndarray) -> np.ndarray:
    """Attention rollout (Abnar and Zuidema 2020, section 3): of which input tokens each position is made.

    Heads count alike, and half of each layer's output is what the residual connection brings along.

    Returns:
        [layers, length, length] float64: after each layer, position by input token; each position's sum to 1.
    """
    length = weights.shape[-1]
    found, so_far = [], np.eye(length)
    for layer in weights.astype(np.float64).mean(axis=1):
        so_far = (layer + np.eye(length)) / 2 @ so_far
        found.append(so_far)
    return np.stack(found)
