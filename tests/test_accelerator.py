"""benchmarks/accelerator.py, what it checks, and the list of what no device was seen to do."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import accelerator, compare, tables, unseen
from benchmarks.accelerator import Bench

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "out", minutes=10.0)


def result(check: str, *of: str, **more: Any) -> dict[str, Any]:
    return {"check": check, "of": list(of), "device": "gpu: NVIDIA H100", **more}


class TestUnseen:
    def test_the_page_has_the_list(self) -> None:
        page = (ROOT / "docs" / "accelerators.md").read_text(encoding="utf-8")
        for what, without, line in unseen.lines():
            assert f"| {what} | {without} | {line} |" in page

    def test_each_line_is_filled_by_its_check(self) -> None:
        found = unseen.filled(
            [
                result("kernels", "jax", said="at most 2e-3 off"),
                result("no_read_back", "torch", failed="called a synchronizing operation | twice"),
                result("sharded", "jax", left_out="there is one device"),
                result("losses", "jax", "float32", said="3e-6"),
                result("losses", "torch", "float32", said="1e-7"),
            ]
        )
        assert (
            "| Attention by Pallas on a GPU: values and gradients against plain products | `kernels jax` | jax: at"
            in found
        )
        assert "| The same on a TPU | `kernels jax` | not tried here |" in found
        assert "**failed** (torch): called a synchronizing operation \\| twice |" in found
        assert "left out (jax): there is one device" in found
        assert "jax float32: 3e-6; torch float32: 1e-7 |" in found
        assert "| `tf32` | `losses tf32` | not tried here |" in found

    def test_every_check_of_the_list_is_done(self) -> None:
        """By a backend that the line names, or by the comparison of a model that it names."""
        families = {subject.family for subject in accelerator.SUBJECTS}
        for each in unseen.UNSEEN:
            if each.check == "speed":
                assert set(each.of) <= families
            elif each.check not in (None, "losses"):
                assert any(each.check in done for done in accelerator.CHECKS_OF.values())
                assert all(each.check in accelerator.CHECKS_OF[backend] for backend in each.of)


class TestParts:
    def test_a_part_that_takes_too_long_is_ended_with_its_children(self, tmp_path: Path) -> None:
        program = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
        child = f"import time; time.sleep(4); open({str(tmp_path / 'late')!r}, 'w')"
        begun = time.monotonic()
        assert accelerator.run(["-c", program, child], dict(os.environ), 1.0)[0] is None
        assert time.monotonic() - begun < 4.0
        time.sleep(max(0.0, 5.0 - (time.monotonic() - begun)))
        assert not (tmp_path / "late").exists()

    def test_a_part_that_fails_does_not_stop_the_others(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        raised = f"Traceback\nRuntimeError: {ROOT}/x: no kernel"
        answers = iter([(1, "", raised), (0, '{"said": "fine", "right": true}', "")])
        monkeypatch.setattr(accelerator, "run", lambda *_: next(answers))
        monkeypatch.setattr(accelerator, "CHECKS_OF", {"torch": ("kernels",)})
        accelerator.checks(bench, {"torch": {"precisions": ["float32"]}})
        assert [each.get("failed", each.get("said")) for each in bench.results] == [
            "Traceback / RuntimeError: .../x: no kernel",
            "fine",
        ]
        assert bench.exit_code() == 1

    def test_what_is_not_right_fails(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(accelerator, "run", lambda *_: (0, '{"said": "0.3 off", "right": false}', ""))
        assert accelerator.check(bench, "torch", "kernels")["failed"] == "0.3 off"
        assert bench.exit_code() == 1

    def test_what_comes_too_late_is_left_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        late = Bench(tmp_path / "out", minutes=0.0)
        monkeypatch.setattr(accelerator, "run", lambda *_: pytest.fail("it was begun"))
        assert "was over" in accelerator.check(late, "torch", "kernels")["left_out"]
        accelerator.measure(late, accelerator.parse([]), ["torch"], tmp_path)
        assert [each["of"][0] for each in late.results[1:]] == ["bert", "distilbert", "roberta"]
        assert late.exit_code() == 0

    def test_the_folder_is_whole_after_each_part(self, bench: Bench) -> None:
        bench.add(result("kernels", "torch", said="fine", right=True, seconds=3.0, versions={"torch": "2"}))
        names = sorted(path.name for path in bench.out.iterdir())
        assert names == ["device.md", "results.csv", "results.json", "tables.md", "what.json"]
        found = json.loads((bench.out / "results.json").read_text())
        assert found["device"] == "gpu: NVIDIA H100"
        page = (bench.out / "tables.md").read_text()
        assert page == tables.markdown(found)
        assert "| kernels | torch | done | 3.0 s | fine |" in page
        assert json.loads((bench.out / "what.json").read_text())["parts"] == [
            {"check": "kernels", "of": ["torch"], "seconds": 3.0, "right": True}
        ]


class TestCommand:
    def test_without_an_accelerator_it_says_so(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(accelerator, "kinds", list)
        assert accelerator.main([]) == 4
        assert "no accelerator is in this machine" in capsys.readouterr().err

    def test_a_used_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "results.json").touch()
        assert accelerator.main(["--small", "--out", str(tmp_path)]) == 6

    def test_backends_on_the_cpu_are_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(accelerator, "kinds", lambda: ["nvidia"])
        monkeypatch.setattr(accelerator, "run", lambda *_: (0, '{"device": "cpu", "said": "cpu", "right": true}', ""))
        assert accelerator.main(["--out", str(tmp_path / "out"), "--backends", "torch"]) == 4
        assert "none of torch computes on the accelerator" in capsys.readouterr().err
        assert "left out" in (tmp_path / "out" / "tables.md").read_text()

    def test_on_a_tpu_there_is_no_peer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert accelerator.parse([]).peers == list(accelerator.PEERS)
        monkeypatch.setattr(accelerator, "kinds", lambda: ["tpu"])
        assert accelerator.parse([]).peers == []


def test_a_loss_that_is_no_number_is_wrong() -> None:
    from benchmarks.device_checks import judged

    assert judged({"a": 1e-6, "b": 2e-6}, 1e-5, "losses")["right"]
    found = judged({"a": 1e-6, "b": float("nan")}, 1e-5, "losses")
    assert not found["right"]
    assert "(b)" in found["said"]


def test_attention_in_float64_is_attention() -> None:
    """The gradient by differences."""
    from benchmarks.kernels_on_device import attended

    random = np.random.Generator(np.random.PCG64(0))
    qkv, given = random.standard_normal((1, 3, 3, 2, 4)), random.standard_normal((1, 3, 2, 4))
    seen, mask = np.array([True, True, False])[None, None, None], random.random((1, 2, 3, 3)) > 0.2
    _, gradient = attended(qkv, seen, mask, given)
    for place in [(0, 1, 0, 1, 2), (0, 1, 1, 0, 3), (0, 0, 2, 1, 1), (0, 2, 1, 0, 0)]:
        moved = qkv.copy()
        moved[place] += 1e-6
        slope = ((attended(moved, seen, mask, given)[0] - attended(qkv, seen, mask, given)[0]) * given).sum() / 1e-6
        assert slope == pytest.approx(gradient[place], abs=1e-5)


def test_the_peers_are_those_of_the_comparison() -> None:
    assert set(accelerator.PEERS) <= set(compare.PEERS)
