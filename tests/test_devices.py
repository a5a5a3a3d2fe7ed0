"""An accelerator that is here and not used is told, with what would change that. None is here: files stand for it."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zoo import backend, check
from zoo.backend import devices

ROOT = Path(__file__).parents[1]
BACKENDS = ("jax", "tensorflow", "torch")
VARIABLES = ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "JAX_PLATFORM_NAME", "KERAS_TORCH_DEVICE")
AND_CUDA = ('nvidia-a-cu12>=1; extra == "and-cuda"', 'nvidia-b-cu12; extra == "and-cuda"', "numpy>=2")
"""What a TensorFlow asks for."""


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine's /dev, empty, and nothing set or installed."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices, "FILES", tmp_path / "dev")
    monkeypatch.setattr(devices, "PCI", tmp_path / "pci")
    (tmp_path / "dev").mkdir()
    have(monkeypatch)
    return tmp_path / "dev"


def have(monkeypatch: pytest.MonkeyPatch, *packages: str, torch: str = "None") -> None:
    """These packages are installed, and a torch whose build names this CUDA."""

    def version(name: str) -> str:
        if name not in packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(devices, "version", version)
    monkeypatch.setattr(devices, "requires", lambda name: list(AND_CUDA))
    folder = devices.FILES.parent / "torch"
    folder.mkdir(exist_ok=True)
    (folder / "version.py").write_text(f"__version__ = '2.13.0+x'\ncuda: Optional[str] = {torch}\nhip = 'x'\n")
    found = SimpleNamespace(origin=str(folder / "__init__.py"))
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: found)


def made(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def card(vendor: str, device: str) -> None:
    """A card as the kernel tells of it."""
    folder = devices.PCI / "0000:00:05.0"
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "device").write_text(f"{device}\n")


# --- which are here -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), []),
        (("nvidia0",), ["nvidia"]),
        (("nvidia3", "nvidiactl"), ["nvidia"]),  # a container that was given one of four
        (("nvidiactl", "nvidia-uvm"), []),  # a driver without a card
        (("accel0",), ["tpu"]),
        (("nvidia0", "accel0"), ["nvidia", "tpu"]),
        (("vfio/0", "vfio/vfio"), []),
        (("dxg",), []),
    ],
)
def test_by_their_files(files: Path, names: tuple[str, ...], expected: list[str]) -> None:
    made(files, names)
    assert devices.present() == expected


@pytest.mark.parametrize(
    ("vendor", "device", "expected"),
    [("0x1ae0", "0x0063", ["tpu"]), ("0x1ae0", "0x0042", []), ("0x10de", "0x0063", [])],
)
def test_a_tpu_behind_vfio(files: Path, vendor: str, device: str, expected: list[str]) -> None:
    """A v5e; Google's network card, and another maker's card of the same number, are none."""
    made(files, ["vfio/0"])
    card(vendor, device)
    assert devices.present() == expected


def test_a_tpu_that_was_given_to_another(files: Path) -> None:
    """The kernel tells a container of its machine's cards, of which it has none."""
    made(files, ["vfio/vfio"])
    card("0x1ae0", "0x0063")
    assert devices.present() == []


def test_on_windows_linux(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(files, ["dxg"])
    monkeypatch.setattr(devices.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert devices.present() == ["nvidia"]


# --- what is told -------------------------------------------------------------------------------

NVIDIA = {
    "jax": "it lacks jax-cuda13-plugin: pip install 'text-zoo[jax-cuda]'",
    "tensorflow": "it lacks nvidia-a-cu12 and 1 more of CUDA's packages: pip install 'text-zoo[tensorflow-cuda]'",
    "torch": "it lacks CUDA (2.13.0+x is a build without): pip install --force-reinstall torch, from an index that has",
}
COMPLETE = {"jax": ("jax-cuda12-plugin",), "tensorflow": ("nvidia-a-cu12", "nvidia-b-cu12"), "torch": ()}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_gpu_without_its_packages(files: Path, name: str) -> None:
    assert devices.unused(name) == devices.device_notes(name) == []
    made(files, ["nvidia0"])
    (told,) = devices.unused(name)
    assert told.startswith(f"an NVIDIA GPU is in this machine and {name} computes on the CPU: {NVIDIA[name]}")
    ((topic, before),) = devices.device_notes(name)
    assert (topic, NVIDIA[name] in before) == ("warning", True)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_gpu_with_its_packages(files: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that uses it all the same is not asked; see the tests of `activate`."""
    made(files, ["nvidia0"])
    have(monkeypatch, *COMPLETE[name], torch="'13.0'")
    (told,) = devices.unused(name)
    assert "needs for it is installed and finds none: run nvidia-smi" in told
    assert devices.device_notes(name) == [
        ("device", f"an NVIDIA GPU; what {name} needs to use it is installed"),
    ]


def test_a_half_installed_cuda(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(files, ["nvidia0"])
    have(monkeypatch, "nvidia-a-cu12")
    assert "it lacks nvidia-b-cu12: pip" in devices.unused("tensorflow")[0]


def test_a_tpu(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(files, ["accel0"])
    assert "it lacks libtpu: pip install 'text-zoo[tpu]'" in devices.unused("jax")[0]
    for name in ("tensorflow", "torch"):
        assert (
            "used through jax alone: pip install 'text-zoo[tpu]' and set KERAS_BACKEND=jax" in devices.unused(name)[0]
        )
    have(monkeypatch, "libtpu")
    assert "end the process that holds it" in devices.unused("jax")[0]
    assert devices.device_notes("jax") == [("device", "a TPU; what jax needs to use it is installed")]


@pytest.mark.parametrize(
    ("variable", "value", "of"),
    [
        ("CUDA_VISIBLE_DEVICES", "", BACKENDS),
        ("CUDA_VISIBLE_DEVICES", "-1", BACKENDS),
        ("CUDA_VISIBLE_DEVICES", "-1,0", BACKENDS),
        ("CUDA_VISIBLE_DEVICES", "0", ()),
        ("JAX_PLATFORMS", "cpu", ("jax",)),
        ("JAX_PLATFORMS", "cpu,cuda", ("jax",)),
        ("JAX_PLATFORMS", "cuda,cpu", ()),
        ("JAX_PLATFORM_NAME", "cpu", ("jax",)),
        ("KERAS_TORCH_DEVICE", "cpu", ("torch",)),
        ("KERAS_TORCH_DEVICE", "cpu:0", ("torch",)),
        ("KERAS_TORCH_DEVICE", "cuda", ()),
    ],
)
def test_turned_off(
    files: Path, variable: str, value: str, of: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the user, who needs no word of it."""
    made(files, ["nvidia0"])
    monkeypatch.setenv(variable, value)
    assert tuple(name for name in BACKENDS if not devices.unused(name)) == of
    assert tuple(name for name in BACKENDS if not devices.device_notes(name)) == of


def test_nvidias_variable_is_not_of_tpus(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(files, ["nvidia0", "accel0"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    (told,) = devices.unused("jax")
    assert told.startswith("a TPU")


# --- what it multiplies -------------------------------------------------------------------------


class Nvml:
    """NVIDIA's library, of cards with these compute capabilities."""

    def __init__(self, *capabilities: tuple[int, int], started: int = 0) -> None:
        self._capabilities, self._started, self._asked = capabilities, started, 0

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self._started

    def nvmlShutdown(self) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self._capabilities)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, number: int, handle: Any) -> int:  # noqa: N802
        self._asked = number
        return 0

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any, major: Any, minor: Any) -> int:  # noqa: N802
        major._obj.value, minor._obj.value = self._capabilities[self._asked]
        return 0


@pytest.mark.parametrize(
    ("nvml", "expected"),
    [
        (Nvml((7, 5)), ("float32",)),
        (Nvml((9, 0)), ("float32", "tf32", "bfloat16")),
        (Nvml((7, 5), (8, 9), (7, 0)), ("float32", "tf32", "bfloat16")),  # which is taken is not known
        (Nvml(), None),
        (Nvml((9, 0), started=9), None),  # a driver of another version than its library
    ],
)
def test_by_compute_capability(
    files: Path, nvml: Nvml, expected: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(files, ["nvidia0"])
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: nvml)
    assert devices.precisions_here("torch") == ("float32", "bfloat16")  # without CUDA
    have(monkeypatch, torch="'13.0'")
    assert devices.precisions_here("torch") == expected
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.precisions_here("torch") == ("float32", "bfloat16")


def test_a_driver_without_its_library(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(files, ["nvidia0"])
    have(monkeypatch, torch="'13.0'")
    monkeypatch.setattr(devices, "NVML", "libnone-at-all.so.1")
    assert devices.precisions_here("torch") is None


# --- where it is told ---------------------------------------------------------------------------


def examined(precision: str) -> check.Report:
    return check.examine(
        check.cli.find_recipe("quickstart"),
        profile="smoke",
        overrides=[f"training.precision={precision}", "backend=torch"],
    )


def test_check_warns(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "installed", lambda: BACKENDS)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)

    def told() -> list[str]:
        return [text for topic, text in examined("auto").notes if topic in ("warning", "device")]

    assert told() == []
    made(files, ["nvidia0"])
    (warning,) = told()
    assert "torch would compute on the CPU: it lacks CUDA" in warning
    assert examined("auto").exit_code == 0
    have(monkeypatch, torch="'13.0'")
    assert told() == ["an NVIDIA GPU; what torch needs to use it is installed"]


def test_check_refuses_what_the_run_would(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "installed", lambda: BACKENDS)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    report = examined("tf32")
    assert report.exit_code == 4
    (fault,) = report.faults
    assert str(fault) == (
        "training.precision: got tf32, expected float32 or bfloat16, which is all that torch on this machine "
        "multiplies: set training.precision to float32"
    )
    assert list(report.estimate["seconds"]["A100"]) == ["tf32"]
    made(files, ["nvidia0"])
    have(monkeypatch, torch="'13.0'")
    for nvml, refused in ((Nvml((8, 0)), []), (Nvml((7, 5)), ["tf32", "bfloat16"]), (Nvml(), [])):
        monkeypatch.setattr(devices.ctypes, "CDLL", lambda name, nvml=nvml: nvml)
        assert [name for name in ("float32", "tf32", "bfloat16", "auto") if examined(name).exit_code] == refused


ACTIVATED = """
import json, sys
from pathlib import Path
import zoo.backend
from zoo import cli
from zoo.backend import devices

devices.FILES = Path(sys.argv[1])
if "own" in sys.argv:
    zoo.backend.own_process(cli.warn)
backend = zoo.backend.activate()
if "twice" in sys.argv:
    zoo.backend.activate()
print(backend.device())
"""


def activated(name: str, files: Path, *words: str, **variables: str) -> str:
    """What a process writes on stderr that has this /dev and activates the backend."""
    given = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    given |= {"KERAS_BACKEND": name, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", ACTIVATED, str(files), *words]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    assert done.stdout == "cpu\n"
    return done.stderr


@pytest.mark.parametrize("name", ["jax", "tensorflow", pytest.param("torch", marks=pytest.mark.slow)])
def test_a_command_warns_once(name: str, files: Path) -> None:
    made(files, ["nvidia0"])
    told = activated(name, files, "own", "twice")
    assert told.count(f"warning: an NVIDIA GPU is in this machine and {name} computes on the CPU") == 1
    # TensorFlow's own words are of the library that it did not find here; the others have none.
    assert ("libcuda.so.1" in told) == (name == "tensorflow")
    assert len(told.splitlines()) == 1 or name == "tensorflow"


def test_a_command_is_quiet_where_there_is_none(files: Path) -> None:
    """TensorFlow's notes of what it did not find are kept away as well."""
    assert activated("tensorflow", files, "own") == ""


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("jax", {"JAX_PLATFORMS": "cpu"}),
        pytest.param("tensorflow", {"CUDA_VISIBLE_DEVICES": ""}, marks=pytest.mark.slow),
    ],
)
def test_a_command_is_quiet_where_the_device_is_turned_off(name: str, variables: dict[str, str], files: Path) -> None:
    made(files, ["nvidia0"])
    assert activated(name, files, "own", **variables) == ""


def test_a_library_is_quiet(files: Path) -> None:
    made(files, ["nvidia0"])
    assert activated("jax", files) == ""


def test_a_device_that_is_used_is_no_news(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(files, ["nvidia0"])
    told: list[str] = []
    monkeypatch.setattr(backend, "_OWN", [told.append])

    class Computes(backend.Backend):
        name = "torch"

        def __init__(self, device: str) -> None:
            self.device = lambda: device  # type: ignore[method-assign]

    backend._warn_of_unused(Computes("gpu: NVIDIA H100"))
    assert told == []
    backend._warn_of_unused(Computes("cpu"))
    assert len(told) == 1


def test_what_and_cuda_asks_for_is_read_from_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one's metadata."""
    monkeypatch.undo()
    found = devices._cuda_of_tensorflow()
    assert "nvidia-cudnn-cu12" in found
    assert "numpy" not in found
    assert all(name.startswith("nvidia-") for name in found)
    assert devices._without_cuda() is None or "is a build without" in str(devices._without_cuda())


@pytest.mark.parametrize("name", BACKENDS)
def test_devices_that_share_a_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the backends themselves can tell how many they have; three do not divide a batch of eight."""
    monkeypatch.setattr(backend, "installed", lambda: BACKENDS)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    for count, code in {1: 0, 2: 0, 3: 2}.items():
        changes = [f"training.devices={count}", "training.batch_size=8", f"backend={name}"]
        report = check.examine(check.cli.find_recipe("quickstart"), profile="smoke", overrides=changes)
        assert report.exit_code == code
        told = "\n".join([*map(str, report.faults), *(text for _, text in report.notes)])
        assert ("memory of each of 2 devices at batch 8" in told) == (count == 2)
        assert ("got 3 beside 8 rows a step's part, expected a divisor of them" in told) == (count == 3)
    changes = ["training.devices=2", "training.dropout_masks=native", f"backend={name}"]
    faults = check.examine(check.cli.find_recipe("quickstart"), profile="smoke", overrides=changes).faults
    assert ["each device would draw the same masks" in str(fault) for fault in faults] == [True] * (name != "jax")
