"""`Kernels` for eager torch, where every operation is started by Python and reads and writes memory.

So there are few of them: forward and backward of attention and of dropout are written out, with scales folded into
matrix products, and Keras's own layers are passed by, whose bookkeeping takes as long as a small operation.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from zoo.backend.transformer import COLUMNS, MASKED, ROWS, SHARE, Drop, Kernels, LayerParts, States, least_kept, mix

ACTIVATIONS = {"gelu": functional.gelu, "relu": functional.relu}
"""torch's own by the name of Keras's function; any other is called as Keras has it."""


_BY_ROWS: ContextVar[bool] = ContextVar("by_rows", default=False)
_COMPILED: ContextVar[bool] = ContextVar("compiled", default=False)
_SHARE: ContextVar[int] = ContextVar("share", default=0)


@contextlib.contextmanager
def gradients_by_rows() -> Iterator[None]:
    """Let the gradients of embeddings be sparse, of the rows that occur; of Keras's optimizers few take such ones."""
    token = _BY_ROWS.set(True)
    try:
        yield
    finally:
        _BY_ROWS.reset(token)


@contextlib.contextmanager
def layers_compiled(compiled: bool) -> Iterator[None]:
    """Let transformer layers be compiled by torch.compile, once for all that are alike, and once a shape."""
    token = _COMPILED.set(compiled)
    try:
        yield
    finally:
        _COMPILED.reset(token)


@contextlib.contextmanager
def share_of_masks(number: int) -> Iterator[None]:
    """Draw the masks of this share, counted from 0, of a batch that is cut into equal shares by rows: with the bits
    that its rows have in the whole batch."""
    token = _SHARE.set(number)
    try:
        yield
    finally:
        _SHARE.reset(token)


@functools.cache
def _compiled(kernels: TorchKernels, outline: LayerParts) -> Callable[..., Any]:
    """A layer as a function of arrays alone: what it does besides, and Keras around it, the compiler need not read."""

    def layer(x: Any, mask: Any, states: States, *weights: Any) -> Any:
        return kernels.computed(outline.holding(weights), x, mask, states)

    compiled: Callable[..., Any] = torch.compile(layer, dynamic=False)
    return compiled


class TorchKernels(Kernels):
    """Args: on_cpu: whether it computes on a CPU, where some ways are quicker that a GPU has not."""

    def __init__(self, *, on_cpu: bool) -> None:
        self._on_cpu = on_cpu
        # Where a CPU has no instructions for bfloat16, and AVX-512 neither, oneDNN refuses such products.
        self._by_onednn = on_cpu and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        # oneDNN's product with a bias in it is unknown to the compiler.
        self._compilable = TorchKernels(on_cpu=False) if on_cpu else self

    def look_up(self, table: Any, rows: Any) -> Any:
        rows = torch.as_tensor(rows)
        # To add up equal rows a GPU would have to say how many there are, and the host to wait for it.
        if _BY_ROWS.get() and self._on_cpu and rows.numel() < table.shape[0]:
            return _LookUp.apply(table.value, rows)  # type: ignore[no-untyped-call]
        return functional.embedding(rows, table.value)

    def state(self, drop: Drop, training: bool) -> Any | None:
        """See `Kernels.state`; a keras.random.SeedGenerator is counted on past Keras's bookkeeping.

        With `share_of_masks` a third number says which share of the rows is meant.
        """
        if not training or drop.rate == 0:
            return None
        state = _tensor(drop.seeds.state)
        share = _SHARE.get()
        now = torch.cat((state, state.new_tensor([share]))) if share else state.clone()
        state[1] += 1
        return now

    def computed_again(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled = _COMPILED.get()  # the backward pass of a GPU runs in a thread of its own, where it is not set

        def run(*arrays: Any) -> Any:
            with layers_compiled(compiled):
                return function(*arrays)

        # What is random comes with the arguments, so torch's generators need not be set back.
        return functools.partial(checkpoint, run, use_reentrant=False, preserve_rng_state=False)

    def array(self, weight: Any) -> Any:
        return _tensor(weight)

    def layer(self, parts: LayerParts, x: Any, mask: Any, states: States) -> Any:
        if _COMPILED.get():
            return _compiled(self._compilable, parts.outline)(x, mask, states, *map(_tensor, parts.weights))
        return self.computed(parts, x, mask, states)

    def computed(self, parts: LayerParts, x: Any, mask: Any, states: States) -> Any:
        """`layer`, operation by operation."""
        batch, length, hidden = x.shape
        _, heads, width = parts.query[0].shape
        kernel = torch.cat([_tensor(kernel).view(hidden, -1) for kernel, _ in parts.attended], 1)
        bias = torch.cat([_tensor(bias).view(-1) for _, bias in parts.attended])
        x = x.reshape(-1, hidden)
        qkv = self._linear(x, kernel, bias).view(batch, length, 3, heads, width)
        context = self._attend(qkv, mask, parts.weights_drop, states[0]).view(-1, heads * width)
        kernel, bias = map(_tensor, parts.output)
        found = self._linear(context, kernel.view(-1, hidden), bias)
        x = self._closed(x, found, parts.attention_norm, parts.epsilon, parts.attention_drop, states[1])
        activation = ACTIVATIONS.get(parts.activation.__name__, parts.activation)
        found = activation(self._linear(x, *map(_tensor, parts.inner)))
        found = self._linear(found, *map(_tensor, parts.outer))
        x = self._closed(x, found, parts.feedforward_norm, parts.epsilon, parts.feedforward_drop, states[2])
        return x.view(batch, length, hidden)

    def _linear(self, x: Any, kernel: Any, bias: Any) -> Any:
        """x [rows, inner] times kernel [inner, outer] plus bias [outer], the weights float32, in x's type."""
        return _Linear.apply(x, kernel, bias, self._by_onednn)  # type: ignore[no-untyped-call]

    def _closed(self, residual: Any, x: Any, norm: tuple[Any, Any], epsilon: float, drop: Drop, state: Any) -> Any:
        """See `Kernels.closed`; x has its bias."""
        return self._norm(self._plus_dropped(residual, x, drop, state), norm, epsilon)

    def _norm(self, x: Any, norm: tuple[Any, Any], epsilon: float) -> Any:
        """Layer norm over the last axis, computed in float32 whatever x's type."""
        gamma, beta = map(_tensor, norm)
        if self._on_cpu or x.dtype == gamma.dtype:
            return functional.layer_norm(x, x.shape[-1:], gamma, beta, epsilon)
        # CUDA's kernel wants weights of x's type (pytorch/pytorch issues 138128 and 185693).
        return functional.layer_norm(x.to(gamma.dtype), x.shape[-1:], gamma, beta, epsilon).to(x.dtype)

    def _attend(self, qkv: Any, mask: Any, drop: Drop, state: Any | None) -> Any:
        batch, length, _, heads, _ = qkv.shape
        bias = torch.where(mask, 0.0, MASKED).to(qkv.dtype)
        kept = None if state is None else self._kept(state, (batch, heads, length, length), drop, qkv)
        # On a CPU the fused kernel's backward is three times as slow as plain products (docs/decisions/0007).
        if kept is not None or (torch.is_grad_enabled() and self._on_cpu):
            return _Attention.apply(qkv, bias, kept, 1.0 if kept is None else drop.scale)  # type: ignore[no-untyped-call]
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2).contiguous()

    def _plus_dropped(self, residual: Any, x: Any, drop: Drop, state: Any | None) -> Any:
        if state is None:
            return residual + x
        return _PlusDropped.apply(residual, x, self._kept(state, x.shape, drop, x), drop.scale)  # type: ignore[no-untyped-call]

    def dropped(self, x: Any, drop: Drop, state: Any | None) -> Any:
        return x if state is None else x * self._kept(state, x.shape, drop, x).mul_(drop.scale)

    def keep_mask(self, state: Any, shape: tuple[Any, ...], rate: float) -> Any:
        return self._bits(state, tuple(shape)) >= least_kept(rate)

    def _kept(self, state: Any, shape: tuple[int, ...], drop: Drop, like: Any) -> Any:
        """1 where x is kept and 0 elsewhere, as x's type."""
        least = least_kept(drop.rate)
        # A comparison makes booleans, which CPUs neither make nor multiply in vectors: it takes three times as long.
        return self._bits(state, shape).clamp_(least - 1, least).sub_(least - 1).to(like.dtype)

    @torch.no_grad()
    def _bits(self, state: Any, shape: tuple[int, ...]) -> Any:
        """See `Kernels.keep_mask`."""
        state = state.to(torch.int32)
        key = mix(state[0] + state[1] * ROWS, _shifted)
        rows = torch.Size(shape[:-1]).numel()
        places = torch.arange(rows, dtype=torch.int32, device=state.device)
        if len(state) > SHARE:
            places += state[SHARE] * rows
        row = mix(places ^ key, _shifted).view(*shape[:-1], 1)
        columns = torch.arange(shape[-1], dtype=torch.int32, device=state.device)
        column = mix(columns ^ mix(key + COLUMNS, _shifted), _shifted)
        return (row + column).mul_(2 * row + (2 * column + 1))


class CudaKernels(TorchKernels):
    """With Triton's kernels where a mask of dropout would else be written: zoo.backend.triton_kernels."""

    def __init__(self) -> None:
        from zoo.backend import triton_kernels  # it imports Triton, which CPUs have not

        super().__init__(on_cpu=False)
        self._triton = triton_kernels

    def _attend(self, qkv: Any, mask: Any, drop: Drop, state: Any | None) -> Any:
        # In 4 bytes plain products are quicker: 6.7 ms against 10.8 for 32 texts of 512 tokens on an H100.
        if qkv.element_size() == 4 or state is None:
            return super()._attend(qkv, mask, drop, state)
        drawn = (state, least_kept(drop.rate), drop.scale)
        return self._triton.Attention.apply(qkv, mask, *drawn)  # type: ignore[no-untyped-call]

    def _closed(self, residual: Any, x: Any, norm: tuple[Any, Any], epsilon: float, drop: Drop, state: Any) -> Any:
        if state is None:
            return super()._closed(residual, x, norm, epsilon, drop, state)
        drawn = (state, least_kept(drop.rate), drop.scale)
        return self._triton.Closed.apply(residual, x, *map(_tensor, norm), epsilon, *drawn)  # type: ignore[no-untyped-call]


def _tensor(weight: Any) -> Any:
    """A variable's own tensor, never cast to the layer's type; a tensor itself."""
    return weight if isinstance(weight, torch.Tensor) else weight._value


def _shifted(x: Any, places: int) -> Any:
    return (x >> places).bitwise_and_(2 ** (32 - places) - 1)


class _LookUp(torch.autograd.Function):
    """Rows of a table, with a gradient of these rows alone: a dense one is mostly zeros, and read four times a step."""

    @staticmethod
    def forward(ctx: Any, table: Any, rows: Any) -> Any:
        ctx.save_for_backward(rows)
        ctx.shape = table.shape
        return table[rows]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        (rows,) = ctx.saved_tensors
        values = gradient.reshape(-1, ctx.shape[1])
        return torch.sparse_coo_tensor(rows.reshape(1, -1), values, ctx.shape, check_invariants=False), None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, kernel: Any, bias: Any, by_onednn: bool) -> Any:
        kernel, bias = kernel.to(x.dtype), bias.to(x.dtype)
        ctx.save_for_backward(x, kernel)
        if x.dtype == torch.bfloat16 and by_onednn:
            # torch.addmm writes the bias to every row first; this is oneDNN's product with the bias in it.
            return torch.ops.mkldnn._linear_pointwise(x, kernel.t(), bias, "none", [], "")
        return torch.addmm(bias, x, kernel)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        x, kernel = ctx.saved_tensors
        by_x, by_kernel, by_bias, _ = ctx.needs_input_grad  # not those of frozen layers
        return (
            gradient @ kernel.t() if by_x else None,
            (x.t() @ gradient).to(torch.float32) if by_kernel else None,
            gradient.sum(0).to(torch.float32) if by_bias else None,
            None,
        )


class _PlusDropped(torch.autograd.Function):
    """residual + scale * kept * x."""

    @staticmethod
    def forward(ctx: Any, residual: Any, x: Any, kept: Any, scale: float) -> Any:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return torch.addcmul(residual, x, kept, value=scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        (kept,) = ctx.saved_tensors
        return gradient, torch.mul(gradient, kept).mul_(ctx.scale), None, None


class _Attention(torch.autograd.Function):
    """Softmax of scaled scores plus bias [batch, 1, 1 or length, length], times kept and scale, times values.

    From queries, keys and values [batch, length, 3, heads, width] to [batch, length, heads, width].
    """

    @staticmethod
    def forward(ctx: Any, qkv: Any, bias: Any, kept: Any | None, scale: float) -> Any:
        batch, length, _, heads, width = qkv.shape
        stacked = qkv.permute(2, 0, 3, 1, 4).reshape(3, batch * heads, length, width)
        query, key, value = stacked
        scores = torch.bmm(query, key.transpose(1, 2)).view(batch, heads, length, length)
        weights = torch.add(bias, scores, alpha=width**-0.5).softmax(-1)
        dropped = weights if kept is None else weights * kept
        found = _product(dropped.view(-1, length, length), value, scale)
        ctx.save_for_backward(stacked, weights, dropped, *(() if kept is None else (kept,)))
        ctx.scale = scale
        return found.view(batch, heads, length, width).transpose(1, 2).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        stacked, weights, dropped, *kept = ctx.saved_tensors
        query, key, value = stacked
        batch, heads, length, _ = weights.shape
        gradient = gradients[0].transpose(1, 2).reshape(query.shape)
        found = torch.empty_like(stacked)
        _product(dropped.view(-1, length, length).transpose(1, 2), gradient, ctx.scale, out=found[2])
        by_weight = _product(gradient, value.transpose(1, 2), ctx.scale).view(weights.shape)
        if kept:
            by_weight.mul_(kept[0])
        by_score = torch._softmax_backward_data(by_weight, weights, -1, weights.dtype).view(-1, length, length)
        scale = query.shape[2] ** -0.5
        _product(by_score, key, scale, out=found[0])
        _product(by_score.transpose(1, 2), query, scale, out=found[1])
        return found.view(3, batch, heads, length, -1).permute(1, 3, 0, 2, 4).contiguous(), None, None, None


def _product(left: Any, right: Any, scale: float, out: Any | None = None) -> Any:
    """scale * left @ right of each matrix of a batch, the scale within the product."""
    if out is None:
        out = left.new_empty(left.shape[0], left.shape[1], right.shape[2])
    return torch.baddbmm(out, left, right, beta=0, alpha=scale, out=out)
