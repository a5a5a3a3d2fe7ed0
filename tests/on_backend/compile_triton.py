"""Triton's kernels compiled for a GPU that is not here: `KERAS_BACKEND=torch python compile_triton.py 90`.

Prints a line a kernel: its name, and what multiplies matrices in it: wgmma, mma or none.
"""

from __future__ import annotations

import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from zoo.backend import triton_kernels as kernels

HALF, FLOAT = "*bf16", "*fp32"
TYPES = {
    **dict.fromkeys(("qkv", "out", "gradient", "result", "residual", "x", "y", "summed", "by_residual", "by_x"), HALF),
    **dict.fromkeys(("logs", "dots", "means", "spreads", "gamma", "beta", "by_gamma", "by_beta"), FLOAT),
    **dict.fromkeys(("scale", "drop_scale", "epsilon"), "fp32"),
    "seen": "*u8",
    "state": "*i64",
}
"""Of a kernel's arguments; any other is a whole number."""


def multiplies(kernel, target, constants, **options):
    """What the compiled kernel multiplies matrices with."""
    signature = {name: "constexpr" if name in constants else TYPES.get(name, "i32") for name in kernel.arg_names}
    values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=values)
    text = triton.compile(source, target=target, options=options).asm["ptx"]
    return next((kind for kind in ("wgmma", "mma") if f"{kind}.mma_async" in text or f"{kind}.sync" in text), "none")


def main():
    target = GPUTarget("cuda", int(sys.argv[1]), 32)
    for which, (m, n, warps, stages) in kernels.BLOCKS[2].items():
        constants = {"M": m, "N": n, "W": 64, "SHARED": True}
        kernel, name = kernels._attention_forward, "_attention_forward"
        if which != "forward":
            kernel, name = kernels._attention_backward, f"_attention_backward-{which}"
            constants["BY_QUERY"] = which == "by_query"
        print(name, multiplies(kernel, target, constants, num_warps=warps, num_stages=stages))
    for name in ("_closed_forward", "_closed_backward"):
        print(name, multiplies(getattr(kernels, name), target, {"SHARED": True, "H": 1024}, num_warps=4))


if __name__ == "__main__":
    main()
