"""benchmarks/turns.py and benchmarks/device.py: one process at a time where the device is one, and what it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import compare, device, processes, protocol, speed, turns
from benchmarks.processes import Contender, Failed, Live

TORCH = Contender(name="torch", kind="zoo", backend="torch")
JAX = Contender(name="jax", kind="zoo", backend="jax")
TUNED, _, _, PIPELINE = compare.PEERS["hf"]
ROUTINE = """
import json, sys
held = open(sys.argv[1], "x")  # a second process would fail here, as it would on a TPU
told = {"precision": sys.argv[2], "seconds": {}, "answers": ["train", "ceiling", "memory"]}
print(json.dumps(told), flush=True)
for number, line in enumerate(sys.stdin):
    asked = line.strip()
    with open(sys.argv[1] + ".log", "a") as log:
        log.write(f"{sys.argv[3]} {asked}\\n")
    if asked == "quit" or asked == sys.argv[4]:
        import os
        os.remove(sys.argv[1])
        os._exit(0 if asked == "quit" else 3)
    answer = {"seconds": 1, "examples": 2, "tokens": 8, "model_flops": 1, "peak_bytes": 5, "flops_per_second": 4}
    print(json.dumps(answer), flush=True)
"""


def routine(folder: Path, *, dies_at: dict[str, str] | None = None, precision: str = "bfloat16") -> turns.Start:
    """Starts a stand-in of a contender that holds what only one process can hold."""

    def start(contender: Contender, seconds: float | None) -> Live:
        spoken = "float32" if contender.name.endswith("float32") else precision
        dies = (dies_at or {}).get(contender.name, "")
        words = [sys.executable, "-c", ROUTINE, str(folder / "device"), spoken, contender.name, dies]
        return Live(words, dict(os.environ), seconds)

    return start


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PAUSE_SECONDS", 0.0)


def done(folder: Path) -> list[str]:
    return (folder / "device.log").read_text().splitlines()


class TestOneAtATime:
    def test_each_ends_before_the_next_starts(self, tmp_path: Path) -> None:
        """All blocks in two starts, the second in another order; the ceiling once a start, after memory."""
        found = turns.one_at_a_time([TUNED, TORCH], routine(tmp_path), rounds=3, seconds=600.0, say=lambda _: None)
        assert not found.failed
        first, last = ["train", "train", "memory", "ceiling", "quit"], ["train", "memory", "ceiling", "quit"]
        assert done(tmp_path) == [
            *(f"hf_tuned {word}" for word in first),
            *(f"torch {word}" for word in first),
            *(f"torch {word}" for word in last),
            *(f"hf_tuned {word}" for word in last),
        ]
        assert [sorted(answers) for answers in found.rounds] == [["hf_tuned", "torch"]] * 3
        assert all(protocol.rates(each["torch"])["model_flop_utilisation"] == 0.25 for each in found.rounds)

    def test_together_they_would_fail(self, tmp_path: Path) -> None:
        """The stand-ins do notice a second process."""
        found = turns.in_turns([TUNED, TORCH], routine(tmp_path), rounds=1, say=lambda _: None)
        assert found.failed.keys() == {"torch"}

    def test_what_failed_is_left_out_and_the_others_go_on(self, tmp_path: Path) -> None:
        start = routine(tmp_path, dies_at={"torch": "ceiling"})
        found = turns.one_at_a_time([TUNED, TORCH], start, rounds=2, seconds=600.0, say=lambda _: None)
        assert found.failed["torch"] == (TORCH, "exit code 3: it said nothing")
        assert [sorted(answers) for answers in found.rounds] == [["hf_tuned"]] * 2
        assert "torch" not in found.memory

    def test_float32_is_compared_with_float32(self, tmp_path: Path) -> None:
        float32 = Contender(name="hf_tuned_float32", kind="hf")
        found = turns.one_at_a_time([float32, TORCH], routine(tmp_path), rounds=2, seconds=600.0, say=lambda _: None)
        assert found.ready.keys() == {"hf_tuned_float32", "torch", "torch_float32"}
        assert sorted(found.rounds[1]) == ["hf_tuned_float32", "torch", "torch_float32"]

    def test_a_second_start_that_would_end_too_late_is_left_out(self, tmp_path: Path) -> None:
        said: list[str] = []
        clock = iter([0.0, 0.0, 0.0, 60.0, 60.0])
        found = turns.one_at_a_time(
            [TORCH], routine(tmp_path), rounds=4, seconds=100.0, say=said.append, now=lambda: next(clock)
        )
        assert len(found.rounds) == 2
        assert said[-1] == "1 of 2 starts took long enough: what is left of 4 blocks is left out"

    def test_who_comes_too_late_is_left_out(self, tmp_path: Path) -> None:
        clock = iter([0.0, 0.0, 0.0, 100.0, 100.0, 100.0])
        found = turns.one_at_a_time(
            [TUNED, TORCH], routine(tmp_path), rounds=1, seconds=100.0, say=lambda _: None, now=lambda: next(clock)
        )
        assert found.failed["torch"][1] == "left out: the 100 s for this recipe were over"
        assert list(found.rounds[0]) == ["hf_tuned"]

    def test_a_process_that_hangs_is_ended(self) -> None:
        with pytest.raises(Failed, match=r"it took longer than 0\.2 s and was ended"):
            Live([sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ), 0.2)

    def test_rows_and_ratios(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(turns, "starting", lambda *_: routine(tmp_path))
        found = speed.measure("quickstart", None, (), [TORCH, TUNED], rounds=2, say=lambda _: None, alone=True)
        assert found["alone"]
        assert found["ratios"][speed.TRAIN]["hf_tuned"]["torch"]["blocks"] == 2
        assert [row["ceiling_flops_per_second"]["median"] for row in found["rows"]] == [4.0, 4.0]


class Clock:
    """Time goes on by what a device takes for each product, and by what it takes to wait."""

    def __init__(self, product: float, waiting: float) -> None:
        self.now, self._product, self._waiting = 0.0, product, waiting
        self.sent = 0

    def multiply(self, left: Any, right: Any) -> None:
        self.sent += 1

    def wait(self, _: object) -> None:
        self.now += self.sent * self._product + self._waiting
        self.sent = 0


@pytest.mark.parametrize(("timed", "within"), [(0.05, 0.01), (0.0, 0.99)])
def test_the_ceiling_is_timed_over_many_products(timed: float, within: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A product takes 8 microseconds and a wait 300: one at a time the device looks 38 times as slow as it is."""
    clock = Clock(8e-6, 300e-6)
    monkeypatch.setattr(protocol.time, "perf_counter", lambda: clock.now)
    found = protocol.best_product([(4, 4, 4)], lambda matrix: matrix, clock.multiply, clock.wait, timed)
    assert found["flops_per_second"] == pytest.approx(2 * 4**3 / 8e-6, rel=within)
    assert (found["flops_per_second"] > 0.9 * 2 * 4**3 / 8e-6) == bool(timed)


def test_rows_beyond_those_drawn_repeat_them() -> None:
    sizes: list[tuple[int, ...]] = []

    def draw(matrix: Any) -> Any:
        sizes.append(matrix.shape)
        return np.zeros((1, 1))

    protocol.best_product([(protocol.DRAWN_ROWS + 5, 2, 3)], draw, np.matmul, lambda _: None)
    assert sizes == [(protocol.DRAWN_ROWS + 5, 2), (2, 3)]


# --- the device ---------------------------------------------------------------------------------


SMI = """#!/bin/sh
case "$1" in
  --query-gpu=*) echo "NVIDIA H100 80GB HBM3, 580.159.04, 81559, 700.00, 1980, [N/A]"
                 echo "NVIDIA H100 80GB HBM3, 580.159.04, 81559, 350.00, 1980, Disabled" ;;
  -q) echo "Driver Version                            : 580.159.04"; echo "CUDA Version         : 13.0" ;;
esac
"""


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A machine with two GPUs, whose nvidia-smi is a script; a function that writes another."""
    monkeypatch.setattr(device, "present", lambda: ["nvidia"])
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def write(text: str) -> None:
        (tmp_path / "nvidia-smi").write_text(text)
        (tmp_path / "nvidia-smi").chmod(0o755)

    write(SMI)
    return write


class TestDevice:
    def test_facts_of_gpus(self, two_gpus: Callable[[str], None]) -> None:
        found = device.facts()
        assert [gpu["power.limit"] for gpu in found["gpus"]] == ["700.00", "350.00"]
        assert found["gpus"][0]["driver_version"] == "580.159.04"
        assert "mig.mode.current" not in found["gpus"][0]
        assert found["driver_cuda"] == "13.0"
        assert found["visible"] == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0"}

    def test_a_driver_that_does_not_answer_is_told(self, two_gpus: Callable[[str], None]) -> None:
        two_gpus("#!/bin/sh\nexit 9\n")
        assert "CalledProcessError" in device.facts()["unknown"]

    def test_all_contenders_see_one_device(
        self, two_gpus: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert {processes.environment(who)["CUDA_VISIBLE_DEVICES"] for who in (TORCH, JAX, TUNED)} == {"0"}
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        assert processes.environment(TORCH)["CUDA_VISIBLE_DEVICES"] == "1"

    def test_one_chip_of_four(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(device, "present", lambda: ["tpu"])
        monkeypatch.setattr(device, "FILES", tmp_path)
        (tmp_path / "accel0").touch()
        assert device.one_of_several({}) == {}
        for number in (1, 2, 3):
            (tmp_path / f"accel{number}").touch()
        assert device.one_of_several({}) == device.ONE_CHIP
        assert device.one_of_several({"TPU_VISIBLE_DEVICES": "2"}) == {}
        assert device.facts()["tpu_chips"] == 4

    def test_a_cpu_has_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(device, "present", list)
        assert device.facts() == {}
        assert device.one_of_several({}) == {}
        assert not compare.parse([]).alone
        monkeypatch.setattr(compare, "kinds", lambda: ["nvidia"])
        assert compare.parse([]).alone

    @pytest.mark.parametrize(
        ("name", "peak"),
        [
            ("gpu: NVIDIA H100 80GB HBM3", 989e12),
            ("tpu: TPU v5 lite", 197e12),
            ("gpu: NVIDIA A100-SXM4-80GB", 312e12),
            ("gpu: NVIDIA L40S", None),
            ("gpu: NVIDIA GH100", None),
            ("cpu", None),
        ],
    )
    def test_the_data_sheet_of_a_known_device(self, name: str, peak: float | None) -> None:
        assert device.data_sheet(name, "bfloat16") == peak
        assert device.data_sheet("tpu: TPU v5 lite", "tf32") is None
