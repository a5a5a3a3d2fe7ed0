"""What a transformer layer computes, in a form that every backend has.

In come and out go arrays of the active backend. `Kernels` says it in keras.ops, for backends that fuse what they
compile; one that computes operation by operation has its own in its module. Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import ops

MASKED = -1e9
"""What is added to a score that is not to count: exp of it is 0, and a row in which nothing counts stays finite."""
MULTIPLIERS = (0x7FEB352D, 0x846CA68B - 2**32)
"""Of `lowbias32`, the 32-bit mixer of least bias that C. Wellons's search found (nullprogram.com/blog/2018/07/31)."""
ROWS, COLUMNS = 0x9E3779B9 - 2**32, 0x3C6EF372
"""Two numbers without meaning (of the golden ratio), which keep the two keys of a mask apart."""
SHARE = 2
"""Where the state of a mask says which share of a batch is meant, if it does; else it is the first, or all of it."""


@dataclass(frozen=True, kw_only=True)
class Drop:
    """A place where something is dropped: its rate, and the keras.random.SeedGenerator that its masks come from."""

    rate: float
    seeds: Any

    @property
    def scale(self) -> float:
        """What is kept is multiplied by this."""
        return 1.0 / (1.0 - self.rate)


WEIGHTS = ("query", "key", "value", "output", "inner", "outer", "attention_norm", "feedforward_norm")
"""Fields of `LayerParts` that hold two variables each."""

DROPS = ("weights_drop", "attention_drop", "feedforward_drop")
"""Fields of `LayerParts` in the order of `States`."""

States = tuple[Any, Any, Any]
"""What the masks of attention's weights and of both halves' outputs are drawn from; None where nothing is dropped."""


@dataclass(frozen=True, kw_only=True)
class LayerParts:
    """A transformer layer's keras.Variables and numbers.

    Kernel and bias of products, those of attention [hidden, heads, head_dim] and [heads, head_dim, hidden]; gamma and
    beta of norms, and their epsilon.
    """

    query: tuple[Any, Any]
    key: tuple[Any, Any]
    value: tuple[Any, Any]
    output: tuple[Any, Any]
    inner: tuple[Any, Any]
    outer: tuple[Any, Any]
    attention_norm: tuple[Any, Any]
    feedforward_norm: tuple[Any, Any]
    epsilon: float
    activation: Any
    weights_drop: Drop
    attention_drop: Drop
    feedforward_drop: Drop
    remat: bool = False
    """Whether the backward pass computes the layer again, from its input alone."""

    @property
    def drops(self) -> tuple[Drop, ...]:
        return tuple(getattr(self, name) for name in DROPS)

    @property
    def weights(self) -> tuple[Any, ...]:
        """All variables, or the arrays that stand for them."""
        return tuple(weight for name in WEIGHTS for weight in getattr(self, name))

    def holding(self, weights: tuple[Any, ...]) -> LayerParts:
        """The same with other weights, in the order of `weights`."""
        pairs: Any = dict(zip(WEIGHTS, zip(weights[::2], weights[1::2], strict=True), strict=True))
        return replace(self, **pairs)

    @property
    def outline(self) -> LayerParts:
        """What is left without variables: equal of layers that compute the same."""
        drops = {name: replace(getattr(self, name), seeds=None) for name in DROPS}
        return replace(self.holding((None,) * 2 * len(WEIGHTS)), remat=False, **drops)

    @property
    def attended(self) -> tuple[tuple[Any, Any], ...]:
        return self.query, self.key, self.value


class Kernels:
    """In keras.ops."""

    def look_up(self, table: Any, rows: Any) -> Any:
        """The rows of a keras.Variable [n, width], of any shape: [..., width]."""
        return ops.take(table, rows, axis=0)

    def state(self, drop: Drop, training: bool) -> Any | None:
        """What the next mask is drawn from, see `keep_mask`; None where nothing is dropped."""
        return drop.seeds.next() if training and drop.rate else None

    def transformer_layer(self, parts: LayerParts, x: Any, mask: Any, training: bool) -> Any:
        """A layer with its norms after each half (Vaswani et al. 2017, section 3.1; Devlin et al. 2019).

        Args:
            parts: the layer's weights and rates.
            x: hidden states, [batch, length, hidden].
            mask: bool [batch, 1, 1 or length, length], which keys a query sees.
            training: whether anything is dropped.

        Returns:
            Hidden states, [batch, length, hidden].
        """
        # Drawn here: a layer that is computed again has to drop the same.
        states: Any = tuple(self.state(drop, training) for drop in parts.drops)
        if not (parts.remat and training):
            return self.layer(parts, x, mask, states)

        def layer(x: Any, *weights: Any) -> Any:
            return self.layer(parts.holding(weights), x, mask, states)

        return self.computed_again(layer)(x, *map(self.array, parts.weights))

    def computed_again(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function of arrays, of which nothing but these is kept for the backward pass."""
        again: Callable[..., Any] = keras.remat(function)
        return again

    def array(self, weight: Any) -> Any:
        """A keras.Variable's array."""
        return ops.convert_to_tensor(weight)

    def layer(self, parts: LayerParts, x: Any, mask: Any, states: States) -> Any:
        """`transformer_layer` with what its masks are drawn from."""
        batch, length = ops.shape(x)[:2]
        hidden, heads, width = parts.query[0].shape
        # Two dimensions, not three: XLA's products are a fifth quicker by it.
        x = ops.reshape(x, (batch * length, hidden))
        qkv = self._projected(parts, x)
        query, key, value = (ops.reshape(part, (batch, length, heads, width)) for part in qkv)
        context = self._attention(query, key, value, mask, parts.weights_drop, states[0])
        context = ops.reshape(context, (-1, heads * width))
        kernel, bias = parts.output
        found = ops.matmul(context, ops.reshape(kernel, (heads * width, hidden)))
        drop, norm = parts.attention_drop, parts.attention_norm
        x = self.closed(x, found, bias, norm, parts.epsilon, drop, states[1])
        found = self.activated(ops.matmul(x, parts.inner[0]), parts.inner[1], parts.activation)
        found = ops.matmul(found, parts.outer[0])
        drop, norm = parts.feedforward_drop, parts.feedforward_norm
        x = self.closed(x, found, parts.outer[1], norm, parts.epsilon, drop, states[2])
        return ops.reshape(x, (batch, length, hidden))

    def _projected(self, parts: LayerParts, x: Any) -> list[Any]:
        """Queries, keys and values [rows, heads * width] of hidden states [rows, hidden]."""
        hidden, heads, width = parts.query[0].shape
        return [
            ops.matmul(x, ops.reshape(kernel, (hidden, heads * width))) + ops.reshape(bias, (heads * width,))
            for kernel, bias in parts.attended
        ]

    def _attention(self, query: Any, key: Any, value: Any, mask: Any, drop: Drop, state: Any | None) -> Any:
        """Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1), all [batch, length, heads, width]."""
        if state is None:
            return ops.dot_product_attention(query, key, value, mask=mask)
        query, key, value = (ops.transpose(part, (0, 2, 1, 3)) for part in (query, key, value))
        scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        weights = self.weighted(scores, mask, query.shape[-1] ** -0.5, drop, state)
        return ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))

    def activated(self, x: Any, bias: Any, activation: Any) -> Any:
        """The activation of x plus bias."""
        return activation(x + bias)

    def weighted(self, scores: Any, mask: Any, scale: float, drop: Drop, state: Any) -> Any:
        """Attention's weights from its scores, some of them dropped."""
        scores = scores * ops.cast(scale, scores.dtype)
        scores = scores + ops.where(mask, ops.cast(0.0, scores.dtype), ops.cast(MASKED, scores.dtype))
        return self.dropped(ops.softmax(scores), drop, state)

    def closed(
        self, residual: Any, x: Any, bias: Any, norm: tuple[Any, Any], epsilon: float, drop: Drop, state: Any
    ) -> Any:
        """What ends each half of a layer: the norm of residual plus what is kept of x plus bias."""
        return ops.layer_normalization(residual + self.dropped(x + bias, drop, state), *norm, epsilon=epsilon)

    def dropped(self, x: Any, drop: Drop, state: Any | None) -> Any:
        """x with a share `rate` of it 0 and the others scaled; x itself where the state is None."""
        if state is None:
            return x
        kept = self.keep_mask(state, ops.shape(x), drop.rate)
        return x * ops.where(kept, ops.cast(drop.scale, x.dtype), ops.cast(0.0, x.dtype))

    def keep_mask(self, state: Any, shape: tuple[Any, ...], rate: float) -> Any:
        """Which positions stay: bool, of this shape, each True with probability 1 - rate.

        Args:
            state: [2] integers, a seed and a counter; [3] where the number of a share follows, of a batch that is cut
                into equal shares by rows: its rows then have the bits that they have in the whole batch.
            shape: at least one dimension; in a graph some may be scalars of the backend.
            rate: share that is dropped, above 0 and below 1.

        A position's bits are f(a + b), with `a` mixed from its row (all dimensions but the last), `b` from its column,
        and f(x) = x (2x + 1) modulo 2**32, RC6's bijection (Rivest et al. 1998, section 3), whose high bits depend on
        all of x. Rows and columns are few, so nearly all of the work is two sums, a product and a comparison a
        position. The generator is counter-based (Salmon et al. 2011) and in 32-bit integers, which wrap alike
        everywhere: the same bits from the same seed, step and position, whatever computes them.
        """
        state = ops.cast(state, "int32")
        key = mix(state[0] + state[1] * ROWS)
        rows = 1
        for size in shape[:-1]:
            rows = rows * size
        places = ops.arange(rows, dtype="int32")
        if state.shape[0] > SHARE:
            places = places + state[SHARE] * rows
        row = ops.reshape(mix(places ^ key), (*shape[:-1], 1))
        column = mix(ops.arange(shape[-1], dtype="int32") ^ mix(key + COLUMNS))
        return (row + column) * (2 * row + (2 * column + 1)) >= least_kept(rate)


def least_kept(rate: float) -> int:
    """The least int32 of bits that are kept."""
    return round(rate * 2**32) - 2**31


def _shifted(x: Any, places: int) -> Any:
    """A shift to the right that fills up with zeros: int32 has a sign, and uint32 no arithmetic on torch."""
    return ops.bitwise_and(ops.right_shift(x, places), 2 ** (32 - places) - 1)


def mix(x: Any, shifted: Callable[[Any, int], Any] = _shifted) -> Any:
    """A bijection of int32 in which each bit of the input changes about half of the output's.

    Args:
        x: int32 of any shape.
        shifted: shifts to the right and fills up with zeros.
    """
    first, second = MULTIPLIERS
    x = (x ^ shifted(x, 16)) * first
    x = (x ^ shifted(x, 15)) * second
    return x ^ shifted(x, 16)
