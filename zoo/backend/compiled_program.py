"""What a compiler says of a program: memory, work, and what its text tells of devices that talk and of kernels.

In comes the text of a compiled program, in XLA's form; out come figures. No backend is imported, nothing refused: what
the text does not hold is counted as none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_SHAPE = re.compile(r"\b(?:pred|(?:bf|[fcsu])(?P<bits>\d+)\w*)\[(?P<sizes>[\d,]*)\]")
_COLLECTIVE = re.compile(
    r"= (?P<shape>\(.*?\)|\S+) "
    r"(?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast|"
    r"ragged-all-to-all)(?P<begun>-start)?\("
)
_INSTRUCTION = re.compile(
    r"\s+(?:ROOT )?%(?P<name>[\w.-]+) = (?P<shape>\(.*?\)(?= [\w-]+\()|\S+) (?P<kind>[\w-]+)\((?P<taken>.*)"
)
_ARRAY = re.compile(r"\w+\[[\d,]*\](?:\{[^}]*\})?")
_NAMED = re.compile(r"%([\w.-]+)")
_MOVES_NOTHING = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "opt-barrier", "after-all"}
_IN_VECTOR_MEMORY = "S(1)"
_JOINS = "ConcatBitcast"
"""What puts together slices that were copied: a name for where they lie."""
_KERNEL = re.compile(r'custom_call_target="(?:tpu_custom_call|__gpu\$xla\.gpu\.triton|triton_kernel_call)"')
_ESTIMATE = re.compile(r'"cost_estimate":\{[^}]*?"flops":"?(\d+)"?[^}]*?"bytes_accessed":"?(\d+)"?')


@dataclass(frozen=True, kw_only=True)
class Collective:
    """Operations of one kind by which devices talk: how many, and the bytes of their results on one device."""

    count: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """Kernels that are not the compiler's: how many, how many of them say what they cost, and what they say."""

    count: int = 0
    estimated: int = 0
    operations: int = 0
    bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class CompiledProgram:
    """A program that was compiled for a device: bytes and operations of one run, of one device where there are several.

    aliased are the bytes of results that take the place of arguments. operations and bytes_accessed are None where the
    compiler does not tell them.
    """

    arguments: int
    results: int
    aliased: int
    temporaries: int
    code: int
    operations: float | None
    bytes_accessed: float | None
    kernels: Kernels
    collectives: Mapping[str, Collective]
    compile_seconds: float
    main_memory: int | None = None
    """Bytes from and to main memory, see `main_memory_bytes`. bytes_accessed counts vector memory too."""

    @property
    def memory(self) -> int:
        """Bytes on the device while it runs."""
        return self.arguments + self.results - self.aliased + self.temporaries + self.code

    @property
    def work(self) -> tuple[float, float] | None:
        """Operations, and bytes from and to memory; None where the compiler does not tell both."""
        if self.operations is None or self.bytes_accessed is None:
            return None
        return self.operations, self.bytes_accessed


def collectives(text: str) -> dict[str, Collective]:
    """The collective operations of a program by kind; what begins one and what ends it count once."""
    found: dict[str, Collective] = {}
    for match in _COLLECTIVE.finditer(text):
        shape = match["shape"]
        if match["begun"] and match["kind"] in ("all-gather", "collective-permute"):
            shape = _second(shape)  # these give what came in, what goes out, and some of them flags
        before = found.get(match["kind"], Collective(count=0, bytes=0))
        found[match["kind"]] = Collective(count=before.count + 1, bytes=before.bytes + shape_bytes(shape))
    return found


def own_kernels(text: str) -> Kernels:
    """The kernels of a program that its author wrote; one in a loop counts once."""
    lines = [line for line in text.splitlines() if _KERNEL.search(line)]
    estimates = [match for match in map(_ESTIMATE.search, lines) if match]
    return Kernels(
        count=len(lines),
        estimated=len(estimates),
        operations=sum(int(match[1]) for match in estimates),
        bytes=sum(int(match[2]) for match in estimates),
    )


def main_memory_bytes(text: str) -> int | None:
    """Bytes that a TPU's program reads from and writes to main memory.

    Arrays in vector memory count nothing, and a copy from one memory to the other once. What a fusion takes counts
    whole, also where it reads a few rows. None of a program with a loop, or whose text does not tell memories apart.
    """
    main = text[text.find("\nENTRY ") :]
    if _IN_VECTOR_MEMORY not in main or " while(" in main:
        return None
    shapes: dict[str, str] = {}
    total = 0
    for match in map(_INSTRUCTION.match, main.splitlines()):
        if match is None:
            continue
        kind = match["kind"]
        shapes[match["name"]] = match["shape"]
        if kind in _MOVES_NOTHING or kind.endswith("-done") or _JOINS in match["taken"]:
            continue
        if kind in ("copy-start", "slice-start"):  # their shape names both ends
            arrays = sorted(map(shape_bytes, _ARRAY.findall(match["shape"])))
            total += arrays[-1] if kind == "copy-start" else arrays[-2]  # of a slice the smaller one is moved
            continue
        taken = dict.fromkeys(_NAMED.findall(match["taken"].split("), ")[0]))
        total += sum(_in_main_memory(shape) for shape in (match["shape"], *(shapes.get(name, "") for name in taken)))
    return total


def _in_main_memory(shape: str) -> int:
    return sum(shape_bytes(array) for array in _ARRAY.findall(shape) if _IN_VECTOR_MEMORY not in array)


def shape_bytes(shape: str) -> int:
    """Bytes of an array, as `bf16[32,512]{1,0}`, or of all arrays of a tuple."""
    total = 0
    for match in _SHAPE.finditer(shape):
        sizes = [int(size) for size in match["sizes"].split(",") if size]
        total += math.prod(sizes) * int(match["bits"] or 8) // 8  # pred, a truth value, has a byte
    return total


def _second(shape: str) -> str:
    """The second of the parts of a tuple, each an array or a tuple."""
    parts, depth = [""], 0
    for sign in shape[1:-1]:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts[1]
