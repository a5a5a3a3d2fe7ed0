"""Attention and the end of each half of a layer in Triton, forward and backward; nothing as large as scores is written.

In come torch tensors on a CUDA device, or on any under TRITON_INTERPRET=1; out come autograd functions. A mask of
dropout is computed from row and column where it is used, with the bits of `Kernels.keep_mask`. Attention goes by blocks
(Dao 2023, FlashAttention-2, algorithms 1 and 2), its softmax in float32. Refused by Triton: a head wider than 256.
"""

# ruff: noqa: N803  # constants of the compiler are in capitals, as Triton's own kernels have them
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from zoo.backend.transformer import COLUMNS, MASKED, MULTIPLIERS, ROWS, SHARE

Block = tuple[int, int, int, int]
"""Queries and keys of a block, warps and stages of a program."""
BLOCKS = {
    2: {"forward": (64, 64, 4, 3), "by_query": (64, 32, 4, 3), "by_key": (64, 64, 4, 2)},
    4: {"forward": (32, 32, 4, 1), "by_query": (32, 32, 4, 1), "by_key": (32, 32, 4, 1)},
}
"""By the bytes of a number; the quickest of eight that were tried on an H100, for numbers of 2 bytes."""
PROGRAMS = 528
"""Programs that share the rows of a norm's backward: four for each multiprocessor of an H100."""

# What a kernel reads of its module is a constant of the compiler's own.
_FIRST, _SECOND = (tl.constexpr(number) for number in MULTIPLIERS)
_ROWS, _COLUMNS, _MASKED = tl.constexpr(ROWS), tl.constexpr(COLUMNS), tl.constexpr(MASKED)
_SHARE = tl.constexpr(SHARE)


@triton.jit
def _mix(x):
    x = (x ^ ((x >> 16) & 0xFFFF)) * _FIRST
    x = (x ^ ((x >> 15) & 0x1FFFF)) * _SECOND
    return x ^ ((x >> 16) & 0xFFFF)


@triton.jit
def _keys(state):
    """Of a mask's rows and columns, each [1]; see `Kernels.keep_mask`."""
    place = tl.arange(0, 1)
    key = _mix(tl.load(state + place).to(tl.int32) + tl.load(state + 1 + place).to(tl.int32) * _ROWS)
    return key, _mix(key + _COLUMNS)


@triton.jit
def _before(state, rows, SHARED: tl.constexpr):
    """How many rows of the whole batch come before this process's, of which it has so many."""
    if SHARED:
        return tl.load(state + _SHARE).to(tl.int32) * rows
    return 0


@triton.jit
def _kept(row, column, least):
    """Which of [rows, columns] stay, from what was mixed of each."""
    return (row + column) * (2 * row + (2 * column + 1)) >= least


# --- attention ----------------------------------------------------------------------------------


@triton.jit
def _part(qkv, part, rows, lane, length, heads, width):
    """Queries (0), keys (1) or values (2) of some rows of one example and head, [rows, lanes]; zero beyond the end."""
    places = (rows[:, None] * 3 + part) * heads * width + lane[None, :]
    return tl.load(qkv + places, mask=(rows[:, None] < length) & (lane[None, :] < width), other=0.0)


@triton.jit
def _scores(query, key, seen, rows, columns, length, row_stride, column_stride, scale):
    """Scaled scores [queries, keys], -inf beyond the end, the rest of what is not seen far down."""
    found = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
    inside = (rows[:, None] < length) & (columns[None, :] < length)
    places = rows[:, None] * row_stride + columns[None, :] * column_stride
    shown = tl.load(seen + places, mask=inside, other=0) != 0
    found = found + tl.where(shown, 0.0, _MASKED)
    return tl.where(columns[None, :] < length, found, float("-inf"))


@triton.jit
def _attention_forward(
    qkv, seen, state, out, logs, heads, length, width, batch_stride, row_stride, column_stride, scale, least,
    drop_scale, SHARED: tl.constexpr, M: tl.constexpr, N: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(1)
    example, head = pair // heads, pair % heads
    rows, lane = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, W)
    qkv += example.to(tl.int64) * length * 3 * heads * width + head * width
    seen += example.to(tl.int64) * batch_stride
    query = _part(qkv, 0, rows, lane, length, heads, width)
    most = tl.full([M], float("-inf"), tl.float32)
    total = tl.zeros([M], tl.float32)
    found = tl.zeros([M, W], tl.float32)
    row_key, column_key = _keys(state)
    before = _before(state, tl.num_programs(1) * length, SHARED)
    row_bits = _mix((before + pair * length + rows) ^ row_key)
    for start in range(0, length, N):
        columns = start + tl.arange(0, N)
        key = _part(qkv, 1, columns, lane, length, heads, width)
        value = _part(qkv, 2, columns, lane, length, heads, width)
        scores = _scores(query, key, seen, rows, columns, length, row_stride, column_stride, scale)
        more = tl.maximum(most, tl.max(scores, 1))
        shares = tl.exp(scores - more[:, None])
        shrink = tl.exp(most - more)
        total = total * shrink + tl.sum(shares, 1)
        kept = _kept(row_bits[:, None], _mix(columns ^ column_key)[None, :], least)
        shares = tl.where(kept, shares * drop_scale, 0.0)
        found = found * shrink[:, None] + tl.dot(shares.to(value.dtype), value, input_precision="ieee")
        most = more
    inside = rows < length
    tl.store(logs + pair.to(tl.int64) * length + rows, most + tl.log(total), mask=inside)
    out += example.to(tl.int64) * length * heads * width + head * width
    places = rows[:, None] * heads * width + lane[None, :]
    found = found / total[:, None]
    tl.store(out + places, found.to(out.dtype.element_ty), mask=inside[:, None] & (lane[None, :] < width))


@triton.jit
def _attention_backward(
    qkv, seen, state, gradient, logs, dots, result, heads, length, width, batch_stride, row_stride, column_stride,
    scale, least, drop_scale, BY_QUERY: tl.constexpr, SHARED: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
    W: tl.constexpr,
):  # fmt: skip
    """By query: of a block of queries. Else: by key and value, of a block of keys."""
    pair = tl.program_id(1)
    example, head = pair // heads, pair % heads
    lane = tl.arange(0, W)
    qkv += example.to(tl.int64) * length * 3 * heads * width + head * width
    result += example.to(tl.int64) * length * 3 * heads * width + head * width
    seen += example.to(tl.int64) * batch_stride
    gradient += example.to(tl.int64) * length * heads * width + head * width
    logs += pair.to(tl.int64) * length
    dots += example.to(tl.int64) * length * heads + head
    rows = tl.program_id(0) * M + tl.arange(0, M)
    columns = tl.program_id(0) * N + tl.arange(0, N)
    by_first = tl.zeros([M if BY_QUERY else N, W], tl.float32)
    by_value = tl.zeros([N, W], tl.float32)
    row_key, column_key = _keys(state)
    before = _before(state, tl.num_programs(1) * length, SHARED)
    for start in range(0, length, N if BY_QUERY else M):
        if BY_QUERY:
            columns = start + tl.arange(0, N)
        else:
            rows = start + tl.arange(0, M)
        query = _part(qkv, 0, rows, lane, length, heads, width)
        key = _part(qkv, 1, columns, lane, length, heads, width)
        value = _part(qkv, 2, columns, lane, length, heads, width)
        inside = rows < length
        out = tl.load(
            gradient + rows[:, None] * heads * width + lane[None, :],
            mask=inside[:, None] & (lane[None, :] < width),
            other=0.0,
        )
        log = tl.load(logs + rows, mask=inside, other=float("inf"))
        dot = tl.load(dots + rows * heads, mask=inside, other=0.0)
        scores = _scores(query, key, seen, rows, columns, length, row_stride, column_stride, scale)
        shares = tl.exp(scores - log[:, None])
        by_share = tl.dot(out, tl.trans(value), input_precision="ieee")
        row_bits = _mix((before + pair * length + rows) ^ row_key)
        kept = _kept(row_bits[:, None], _mix(columns ^ column_key)[None, :], least)
        by_share = tl.where(kept, by_share * drop_scale, 0.0)
        dropped = tl.where(kept, shares * drop_scale, 0.0)
        by_score = (shares * (by_share - dot[:, None]) * scale).to(query.dtype)
        if BY_QUERY:
            by_first += tl.dot(by_score, key, input_precision="ieee")
        else:
            by_first += tl.dot(tl.trans(by_score), query, input_precision="ieee")
            by_value += tl.dot(tl.trans(dropped.to(out.dtype)), out, input_precision="ieee")
    if BY_QUERY:
        _store_part(result, 0, by_first, rows, lane, length, heads, width)
    else:
        _store_part(result, 1, by_first, columns, lane, length, heads, width)
        _store_part(result, 2, by_value, columns, lane, length, heads, width)


@triton.jit
def _store_part(result, part, found, rows, lane, length, heads, width):
    places = (rows[:, None] * 3 + part) * heads * width + lane[None, :]
    inside = (rows[:, None] < length) & (lane[None, :] < width)
    tl.store(result + places, found.to(result.dtype.element_ty), mask=inside)


def _block(x: Any, which: str) -> dict[str, int]:
    found = BLOCKS[x.element_size()][which]
    return dict(zip(("M", "N", "num_warps", "num_stages"), found, strict=True))


class Attention(torch.autograd.Function):
    """Softmax of scaled scores, some of it dropped, times values.

    Args of `apply`:
        qkv: queries, keys and values, [batch, length, 3, heads, width], contiguous.
        seen: which keys a query sees, bool [batch, 1, 1 or length, length].
        state: what the mask is drawn from, [2] integers, see `Kernels.keep_mask`, or [3], see `TorchKernels.state`.
        least: the least bits that are kept; drop_scale: what is kept is multiplied by it.

    Returns [batch, length, heads, width].
    """

    @staticmethod
    def forward(ctx: Any, qkv: Any, seen: Any, state: Any, least: int, drop_scale: float) -> Any:
        batch, length, _, heads, width = qkv.shape
        seen = seen.view(torch.uint8)
        out = qkv.new_empty(batch, length, heads, width)
        logs = qkv.new_empty(batch * heads, length, dtype=torch.float32)
        common = {
            "scale": width**-0.5,
            "least": least,
            "drop_scale": drop_scale,
            "SHARED": len(state) > SHARE,
            "W": max(16, triton.next_power_of_2(width)),
        }
        row_stride = seen.stride(2) if seen.shape[2] > 1 else 0
        sizes = (heads, length, width, seen.stride(0), row_stride, seen.stride(3))
        block = _block(qkv, "forward")
        grid = (triton.cdiv(length, block["M"]), batch * heads)
        _attention_forward[grid](qkv, seen, state, out, logs, *sizes, **common, **block)
        ctx.save_for_backward(qkv, seen, state, out, logs)
        ctx.sizes, ctx.common = sizes, common
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        qkv, seen, state, out, logs = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        batch, length, _, heads, _ = qkv.shape
        dots = torch.sum(gradient * out, -1, dtype=torch.float32)
        result = torch.empty_like(qkv)
        given = (qkv, seen, state, gradient, logs, dots, result, *ctx.sizes)
        for by_query in (True, False):
            block = _block(qkv, "by_query" if by_query else "by_key")
            grid = (triton.cdiv(length, block["M" if by_query else "N"]), batch * heads)
            _attention_backward[grid](*given, BY_QUERY=by_query, **ctx.common, **block)
        return result, None, None, None, None


# --- dropout, sum and norm ----------------------------------------------------------------------


@triton.jit
def _closed_forward(
    residual, x, gamma, beta, state, y, summed, means, spreads, least, drop_scale, epsilon, hidden,
    SHARED: tl.constexpr, H: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    columns = tl.arange(0, H)
    inside = columns < hidden
    places = row.to(tl.int64) * hidden + columns
    found = tl.load(x + places, mask=inside, other=0.0).to(tl.float32)
    row_key, column_key = _keys(state)
    drawn = _before(state, tl.num_programs(0), SHARED) + row
    kept = _kept(_mix(drawn ^ row_key), _mix(columns ^ column_key), least)
    found = tl.where(kept, found * drop_scale, 0.0)
    found = found + tl.load(residual + places, mask=inside, other=0.0).to(tl.float32)
    tl.store(summed + places, found.to(summed.dtype.element_ty), mask=inside)
    found = found.to(summed.dtype.element_ty).to(tl.float32)
    mean = tl.sum(found, 0) / hidden
    off = tl.where(inside, found - mean, 0.0)
    spread = 1.0 / tl.sqrt(tl.sum(off * off, 0) / hidden + epsilon)
    scaled = off * spread * tl.load(gamma + columns, mask=inside, other=0.0)
    scaled += tl.load(beta + columns, mask=inside, other=0.0)
    tl.store(y + places, scaled.to(y.dtype.element_ty), mask=inside)
    tl.store(means + row, mean)
    tl.store(spreads + row, spread)


@triton.jit
def _closed_backward(
    gradient, summed, means, spreads, gamma, state, by_residual, by_x, by_gamma, by_beta, least, drop_scale, rows,
    hidden, SHARED: tl.constexpr, H: tl.constexpr,
):  # fmt: skip
    columns = tl.arange(0, H)
    inside = columns < hidden
    weights = tl.load(gamma + columns, mask=inside, other=0.0)
    gammas = tl.zeros([H], tl.float32)
    betas = tl.zeros([H], tl.float32)
    row_key, column_key = _keys(state)
    column_bits = _mix(columns ^ column_key)
    before = _before(state, rows, SHARED)
    for row in range(tl.program_id(0), rows, tl.num_programs(0)):
        places = row * hidden + columns
        given = tl.load(gradient + places, mask=inside, other=0.0).to(tl.float32)
        spread = tl.load(spreads + row)
        normed = (tl.load(summed + places, mask=inside, other=0.0).to(tl.float32) - tl.load(means + row)) * spread
        normed = tl.where(inside, normed, 0.0)
        gammas += given * normed
        betas += given
        given *= weights
        found = spread * (given - tl.sum(given, 0) / hidden - normed * (tl.sum(given * normed, 0) / hidden))
        tl.store(by_residual + places, found.to(by_residual.dtype.element_ty), mask=inside)
        kept = _kept(_mix((before + row) ^ row_key), column_bits, least)
        found = tl.where(kept, found * drop_scale, 0.0)
        tl.store(by_x + places, found.to(by_x.dtype.element_ty), mask=inside)
    place = tl.program_id(0) * hidden + columns
    tl.store(by_gamma + place, gammas, mask=inside)
    tl.store(by_beta + place, betas, mask=inside)


class Closed(torch.autograd.Function):
    """The layer norm, in float32, of residual plus what is kept of x.

    Args of `apply`:
        residual, x: [rows, hidden], contiguous.
        gamma, beta: [hidden] float32; epsilon: of the norm.
        state, least, drop_scale: as `Attention`'s.

    Returns [rows, hidden] in x's type.
    """

    @staticmethod
    def forward(
        ctx: Any, residual: Any, x: Any, gamma: Any, beta: Any, epsilon: float, state: Any, least: int, scale: float
    ) -> Any:
        rows, hidden = x.shape
        y, summed = torch.empty_like(x), torch.empty_like(x)
        means, spreads = (x.new_empty(rows, dtype=torch.float32) for _ in range(2))
        block = triton.next_power_of_2(hidden)
        ctx.common = {"SHARED": len(state) > SHARE, "H": block, "num_warps": 4 if block <= 2048 else 8}
        ctx.numbers = (least, scale)
        _closed_forward[rows,](
            residual, x, gamma, beta, state, y, summed, means, spreads, least, scale, epsilon, hidden, **ctx.common
        )
        ctx.save_for_backward(summed, means, spreads, gamma, state)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        summed, means, spreads, gamma, state = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        rows, hidden = summed.shape
        by_residual, by_x = torch.empty_like(summed), torch.empty_like(summed)
        programs = min(rows, PROGRAMS)
        by_gamma, by_beta = summed.new_empty(2, programs, hidden, dtype=torch.float32)
        _closed_backward[programs,](
            gradient, summed, means, spreads, gamma, state, by_residual, by_x, by_gamma, by_beta, *ctx.numbers, rows,
            hidden, **ctx.common,
        )  # fmt: skip
        return by_residual, by_x, by_gamma.sum(0), by_beta.sum(0), None, None, None, None
