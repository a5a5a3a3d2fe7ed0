"""What no device has been seen to do: how it is tried without one, and which check of `make gpu-bench` shows it.

One list, of which docs/accelerators.md has a table (tools/render_docs.py), and each `make gpu-bench` the same table
filled in, as device.md. What was seen goes out of the list, into docs/accelerators.md with its figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Check = Literal["losses", "kernels", "with_and_without", "no_read_back", "parts", "sharded", "speed"]
"""The checks of on_device.py, and the comparison with transformers."""


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Something that was not yet run on a device.

    what, without: for people: what it is, and how it is tried without a device.
    check: which check shows it; None where that takes another machine than `make gpu-bench` is run on.
    of: of which backends and precisions, or which models; empty is all of them.
    platform: the kind of device; None is any.
    """

    what: str
    without: str
    check: Check | None
    of: tuple[str, ...] = ()
    platform: Literal["gpu", "tpu"] | None = None

    @property
    def line(self) -> str:
        """The check, as the results name it."""
        return f"`{' '.join((self.check, *self.of))}`" if self.check else "none"

    def told_by(self, result: Mapping[str, Any]) -> bool:
        """Whether a result shows it."""
        on = str(result.get("device", "")).partition(":")[0]
        return (
            result["check"] == self.check
            and set(self.of) <= set(result["of"])
            and (self.platform is None or on in (self.platform, ""))
        )


_LOWERED = (
    "Pallas' interpreter on a CPU, and lowered for devices that are not here (`tests/on_backend/checks_pallas.py`)"
)

UNSEEN = (
    Unseen(
        what="Attention by Pallas on a GPU: values and gradients against plain products",
        without=_LOWERED,
        check="kernels",
        of=("jax",),
        platform="gpu",
    ),
    Unseen(what="The same on a TPU", without=_LOWERED, check="kernels", of=("jax",), platform="tpu"),
    Unseen(
        what="Halves of a layer, a Pallas kernel each, on a TPU: 20 steps with them and without",
        without=f"{_LOWERED}; whole steps compiled for a v5e, see above",
        check="with_and_without",
        of=("jax",),
        platform="tpu",
    ),
    Unseen(
        what="20 steps with Pallas' kernels and without",
        without="the same by the interpreter (`checks_pallas.py`)",
        check="with_and_without",
        of=("jax",),
    ),
    Unseen(
        what="20 whole steps with Triton's kernels and without",
        without="Triton's interpreter, and compiled for an H100 (`tests/on_backend/checks_cuda.py`)",
        check="with_and_without",
        of=("torch",),
    ),
    Unseen(
        what="A step that reads nothing back",
        without="a GPU's step of tensors that have no numbers to read, and its copies counted (`checks_cuda.py`)",
        check="no_read_back",
        of=("torch",),
    ),
    Unseen(
        what="Steps in parts, and layers that are computed again",
        without="on a CPU (`tests/on_backend/checks_memory.py`), and in plans of compilers for devices",
        check="parts",
    ),
    Unseen(
        what="torch's layers compiled by `training.compile`, beside eager ones",
        without="on a CPU (`tests/on_backend/checks_compile.py`)",
        check="parts",
        of=("torch",),
        platform="gpu",
    ),
    Unseen(
        what="`float32` as IEEE float32 on each backend",
        without="what JAX lowers and TensorFlow hands to XLA says `HIGHEST` of each product (`checks_stablehlo.py`, "
        "`checks_hlo.py`); switches are read within a step and its gradient (`checks_precision.py`)",
        check="losses",
        of=("float32",),
    ),
    Unseen(what="`tf32`", without="the same, with `DEFAULT`", check="losses", of=("tf32",), platform="gpu"),
    Unseen(
        what="TensorFlow's whole step, compiled by XLA on a GPU",
        without="compiled by XLA on a CPU (`tests/on_backend/checks_xla.py`)",
        check="losses",
        of=("tensorflow", "float32"),
        platform="gpu",
    ),
    Unseen(
        what="Batches that devices share by rows (`training.devices`, jax)",
        without="two, four and eight devices that a CPU pretends to be (`tests/on_backend/checks_shared.py`)",
        check=None,
    ),
    Unseen(
        what="Batches that devices share by rows (`training.devices`, TensorFlow), and NCCL between them",
        without="two and four devices that a CPU is split into (`checks_shared.py`, `checks_mirrors.py`)",
        check=None,
    ),
    Unseen(
        what="Weights that devices share out (`training.model_parallel`, jax)",
        without="two and four devices that a CPU pretends to be (`tests/on_backend/checks_divided.py`)",
        check=None,
    ),
    Unseen(
        what="Batches that processes share by rows (`training.devices`, torch)",
        without="two and four processes on a CPU, by gloo (`tests/on_backend/checks_processes.py`)",
        check=None,
    ),
    Unseen(
        what="The same by processes on two machines, on jax and torch",
        without="two network namespaces on a CPU, by gloo (`tests/on_backend/checks_hosts.py`)",
        check=None,
    ),
    Unseen(
        what="Triton's kernels with the masks of a process's own rows",
        without="Triton's interpreter, and compiled for an H100 (`tests/on_backend/checks_cuda.py`)",
        check=None,
    ),
    Unseen(
        what="Attention by Pallas, shared out over several devices",
        without="two devices that a CPU pretends to be (`tests/on_backend/sharded_kernels.py`)",
        check="sharded",
        of=("jax",),
    ),
    Unseen(
        what="BERT-Base at full size beside transformers, with kernels that write no mask",
        without="`--small` on a CPU",
        check="speed",
        of=("bert",),
    ),
    Unseen(what="DistilBERT at full size", without="`--small` on a CPU", check="speed", of=("distilbert",)),
    Unseen(what="RoBERTa-large at full size", without="`--small` on a CPU", check="speed", of=("roberta",)),
    Unseen(
        what="Warnings of a device that is not used",
        without="device files, NVIDIA's library and installed packages are stood in for (`tests/test_devices.py`)",
        check=None,
    ),
)

COLUMNS = ("what", "how it is tried without one", "check of `make gpu-bench`")


def lines() -> list[tuple[str, ...]]:
    """The rows of docs/accelerators.md, as COLUMNS says."""
    return [(each.what, each.without, each.line) for each in UNSEEN]


def filled(results: Sequence[Mapping[str, Any]]) -> str:
    """device.md: each row, and what this machine said to it.

    Args:
        results: of each check its name (`check`), what it is of (`of`), the device, and what it `said`, or why it has
            `failed` or was `left_out`.
    """
    rows = [("what", "check", "seen here"), ("---",) * 3]
    for each in UNSEEN:
        said = "; ".join(_said(result) for result in results if each.told_by(result))
        rows.append((each.what, each.line, said or "not tried here"))
    return "# What this device did\n\n" + "".join(f"| {' | '.join(map(_cell, row))} |\n" for row in rows)


def _said(result: Mapping[str, Any]) -> str:
    of = " ".join(result["of"])
    if "failed" in result:
        return f"**failed** ({of}): {result['failed']}"
    return f"left out ({of}): {result['left_out']}" if "left_out" in result else f"{of}: {result['said']}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
