"""Figures of attention on weights whose figures are known."""

import numpy as np
import pytest

from zoo.explain.attention import distance, entropy, rollout

UNIFORM = np.full((4, 4), 0.25, np.float32)
SELF = np.eye(4, dtype=np.float32)
FIRST = np.zeros((4, 4), np.float32)
FIRST[:, 0] = 1.0
WEIGHTS = np.stack([np.stack([UNIFORM, SELF]), np.stack([FIRST, FIRST])])


def test_entropy_is_that_of_the_queries() -> None:
    np.testing.assert_allclose(entropy(WEIGHTS), [[np.log(4), 0.0], [0.0, 0.0]], atol=1e-12)
    assert entropy(np.array([[[[0.5, 0.5], [1.0, 0.0]]]]))[0, 0] == pytest.approx(np.log(2) / 2)


def test_distance_is_in_tokens() -> None:
    # From the ends 0 to 3 tokens, a mean of 1.5; from the middle ones 1.
    np.testing.assert_allclose(distance(WEIGHTS), [[1.25, 0.0], [1.5, 1.5]])


def test_rollout_by_hand() -> None:
    """One layer of two tokens, then another: products of (weights + identity) / 2."""
    first, second = np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([[1.0, 0.0], [0.5, 0.5]])
    found = rollout(np.stack([first, second])[:, None])
    one = np.array([[0.6, 0.4], [0.3, 0.7]])
    np.testing.assert_allclose(found[0], one)
    np.testing.assert_allclose(found[1], np.array([[1.0, 0.0], [0.25, 0.75]]) @ one)


def test_rollout_shares_sum_to_one() -> None:
    drawn = np.random.default_rng(0).random((3, 2, 5, 5))
    found = rollout(drawn / drawn.sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(found.sum(axis=-1), 1.0)
    assert found.shape == (3, 5, 5)
