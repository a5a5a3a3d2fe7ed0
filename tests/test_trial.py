"""Which number type is chosen: by what steps take on the device, measured once and kept."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import Any

import pytest

from zoo.backend import ON_CPU, Backend, Precision, precisions_of_nvidia
from zoo.data import trials
from zoo.data.this_machine import busy
from zoo.data.trials import Trial, Tried
from zoo.models.backbone import DEFAULTS, BackboneConfig
from zoo.training import trial
from zoo.training.trial import quicker_compiled, quicker_precision

CONFIG = BackboneConfig(
    family="bert",
    vocabulary_size=30522,
    num_layers=12,
    num_heads=12,
    hidden_dim=768,
    intermediate_dim=3072,
    max_positions=512,
    **DEFAULTS["bert"],
)
TRIED = Tried(work="train", backend="torch", rows=32, length=128, hidden_dim=768, num_heads=12, intermediate_dim=3072)


class Device(Backend):
    name = "torch"

    def __init__(self, told: str = "cpu", precisions: tuple[Precision, ...] = ON_CPU) -> None:
        self._told, self._precisions = told, precisions

    def device(self) -> str:
        return self._told

    def precisions(self) -> tuple[Precision, ...]:
        return self._precisions

    def compiles(self) -> tuple[bool, ...]:
        return (False, True) if self.accelerated else (False,)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(trial, "busy", lambda: False)
    return tmp_path


class Steps:
    """In place of real steps: seconds by precision, and what was asked for."""

    def __init__(self, float32: float, bfloat16: float, tf32: float = 0.0) -> None:
        self.seconds = {"float32": float32, "tf32": tf32, "bfloat16": bfloat16}
        self.made: list[tuple[str, int, int]] = []

    def __call__(
        self, config: Any, backend: Any, precision: str, compiled: bool | None, tried: Tried, rows: int
    ) -> Any:
        self.made.append((precision, rows, config.num_layers))
        return lambda: time.sleep(self.seconds[precision] / (1 + bool(compiled)))


def choose(backend: Backend | None = None) -> Trial:
    found = quicker_precision(CONFIG, backend or Device(), rows=32, length=128, work="train")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("seconds", "chosen"), [((0.02, 0.005), "bfloat16"), ((0.005, 0.02), "float32"), ((0.02, 0.02), "float32")]
)
def test_the_quicker_one(seconds: tuple[float, float], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_step", Steps(*seconds))
    found = choose()
    assert found.chosen == chosen
    assert found.seconds["float32"] >= seconds[0]
    assert chosen not in str(found)  # which names the other one


@pytest.mark.parametrize(
    ("capability", "precisions"),
    [
        ((7, 0), ("float32",)),
        ((7, 5), ("float32",)),
        ((8, 0), ("float32", "tf32", "bfloat16")),
        ((12, 0), ("float32", "tf32", "bfloat16")),
    ],
)
def test_what_nvidias_gpus_multiply(capability: tuple[int, int], precisions: tuple[str, ...]) -> None:
    """V100, T4, A100, and one of two digits."""
    assert precisions_of_nvidia(capability) == precisions


def test_tf32_is_tried_where_a_device_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what an earlier version measured without it is measured again."""
    steps = Steps(0.02, 0.004, tf32=0.008)
    monkeypatch.setattr(trial, "_step", steps)
    device = Device("gpu: NVIDIA A100", precisions_of_nvidia((8, 0)))
    trials.keep(TRIED, Trial(device="gpu: NVIDIA A100", seconds={"float32": 0.001, "bfloat16": 0.001}))
    found = choose(device)
    assert tuple(found.seconds) == ("float32", "tf32", "bfloat16")
    assert found.chosen == "bfloat16"
    assert choose(device) == found
    assert len(steps.made) == 3


def test_nothing_is_tried_where_there_is_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(0.02, 0.005)
    monkeypatch.setattr(trial, "_step", steps)
    device = Device("gpu: Tesla T4", precisions_of_nvidia((7, 5)))
    assert quicker_precision(CONFIG, device, rows=32, length=128, work="train") is None
    assert steps.made == []


@pytest.mark.parametrize(
    ("milliseconds", "chosen", "told"),
    [
        ((20, 10, 5), "bfloat16", "5 ms against 20 in float32 and 10 in tf32, for"),
        ((20, 10, 9.8), "tf32", "10 ms against 20 in float32 and 9.8 in bfloat16, which is less exact"),
        (
            (20, 19.5, 19.4),
            "float32",
            "20 ms against 19.5 in tf32, which is less exact and would have to be 5% quicker",
        ),
        ((20, 21, 5), "bfloat16", "5 ms against 20 in float32 and 21 in tf32, for"),
    ],
)
def test_the_quickest_of_three(milliseconds: tuple[float, ...], chosen: str, told: str) -> None:
    """A less exact one is taken where it is clearly quicker than the more exact ones."""
    seconds = dict(zip(("float32", "tf32", "bfloat16"), (value / 1000 for value in milliseconds), strict=True))
    found = Trial(device="gpu: NVIDIA A100", seconds=seconds)  # type: ignore[arg-type]
    assert found.chosen == chosen
    assert told in str(found)


def test_whether_to_compile_is_measured_where_a_trial_takes_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a device, precision and step, beside what was measured of precisions."""
    steps = Steps(0.004, 0.008)
    monkeypatch.setattr(trial, "_step", steps)
    given: dict[str, Any] = {"rows": 32, "length": 128}
    assert quicker_compiled(CONFIG, Device(), precision="float32", **given) is None
    gpu = Device("gpu: NVIDIA T4")
    found = quicker_compiled(CONFIG, gpu, precision="float32", **given)
    assert found is not None
    assert found.chosen == "on"
    assert list(found.seconds) == ["off", "on"]
    assert re.fullmatch(r"[\d.]+ ms against [\d.]+ not compiled, for a step of one layer on this device", str(found))
    assert quicker_compiled(CONFIG, gpu, precision="float32", **given) == found
    assert [made[0] for made in steps.made] == ["float32", "float32"]
    quicker_compiled(CONFIG, gpu, precision="bfloat16", **given)
    assert [made[0] for made in steps.made[2:]] == ["bfloat16", "bfloat16"]


def test_measured_once_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(0.002, 0.001)
    monkeypatch.setattr(trial, "_step", steps)
    first = choose()
    assert choose() == first
    assert len(steps.made) == 2
    other = choose(Device("gpu: Apple Metal"))
    assert other.device == "gpu: Apple Metal"
    assert len(steps.made) == 4
    assert choose() == first


def test_what_a_busy_machine_measured_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(0.002, 0.001)
    monkeypatch.setattr(trial, "_step", steps)
    monkeypatch.setattr(trial, "busy", lambda: True)
    choose()
    choose()
    assert len(steps.made) == 4
    choose(Device("gpu: Apple Metal"))
    choose(Device("gpu: Apple Metal"))
    assert len(steps.made) == 6, "an accelerator is not what other programs take"


def test_busy_is_a_core_that_others_want(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: next(passed) * 0.01)
    monkeypatch.setattr("time.thread_time", lambda: 0.0)
    assert busy()
    monkeypatch.setattr("time.thread_time", time.perf_counter)
    assert not busy()


def test_another_step_is_another_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(0.002, 0.001)
    monkeypatch.setattr(trial, "_step", steps)
    choose()
    quicker_precision(CONFIG, Device(), rows=32, length=256, work="train")
    quicker_precision(CONFIG, Device(), rows=32, length=128, work="predict")
    assert len(steps.made) == 6


def test_one_layer_and_on_a_cpu_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(0.0, 0.0)
    monkeypatch.setattr(trial, "_step", steps)
    choose()
    choose(Device("gpu: Apple Metal"))
    on_cpu, _, on_gpu, _ = steps.made
    assert (on_cpu[2], on_gpu[2]) == (1, 1)
    assert 1 <= on_cpu[1] < 32
    assert on_gpu[1] == 32


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"cpu": {"float32": "much"}}', b'{"cpu": null}'])
def test_a_damaged_file_counts_as_none(content: bytes, cache: Path) -> None:
    made = Trial(device="cpu", seconds={"float32": 0.2, "bfloat16": 0.1})
    trials.keep(TRIED, made)
    (file,) = (cache / "trials").iterdir()
    assert trials.kept(TRIED, "cpu", ON_CPU) == made
    file.write_bytes(content)
    assert trials.kept(TRIED, "cpu", ON_CPU) is None
    trials.keep(TRIED, made)
    assert trials.kept(TRIED, "cpu", ON_CPU) == made


def test_a_cache_that_cannot_be_written_costs_no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(trial, "_step", Steps(0.002, 0.001))
    assert choose().chosen == "bfloat16"


def test_a_small_gain_is_told() -> None:
    assert "would have to be 5% quicker" in str(Trial(device="cpu", seconds={"float32": 0.0118, "bfloat16": 0.0113}))
    assert "would have" not in str(Trial(device="cpu", seconds={"float32": 0.02, "bfloat16": 0.01}))
