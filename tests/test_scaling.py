"""tools/scaling.py: by hand, and with a stand-in for what compilers say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_compile_for import ANSWER, program

from tools import scaling
from zoo.backend.compiled_program import Collective
from zoo.backend.compilers import TARGETS, Target
from zoo.recipe import Recipe
from zoo.recipe.estimate import machine_named
from zoo.training.compile_request import Answer

PROGRAM = program(None, None)


def scaled(devices: int) -> scaling.Scaled:
    kinds = {
        "all-reduce": Collective(count=2, bytes=440_000_000),
        "all-gather": Collective(count=1, bytes=8_000_000),
    }
    made = replace(PROGRAM, collectives=kinds)
    h100 = machine_named("H100")
    return scaling.scaled(made, h100, computed=0.010, rows=32 * devices, devices=devices)


def test_a_summed_array_goes_twice_around_but_for_ones_own_share() -> None:
    found = scaled(8)
    assert found.sent == pytest.approx(440e6 * 2 * 7 / 8 + 8e6 * 7 / 8)
    assert found.exchanged == pytest.approx(777e6 / 450e9)
    assert found.least == 0.010
    assert found.most == pytest.approx(0.010 + 777e6 / 450e9)


def test_one_device_sends_nothing() -> None:
    one = scaled(1)
    assert (one.sent, one.least, one.most) == (0, 0.010, 0.010)
    assert one.cells(one)[-2:] == ("3,200", "100%")


def test_a_row_of_the_table() -> None:
    assert scaled(8).cells(scaled(1)) == (
        *("8", "256", "10.0 ms", "777 MB (1 all-gather, 2 all-reduce)", "1.7 ms", "10.0 ms", "11.7 ms"),
        *("21,831 to 25,600", "85% to 100%"),
    )


def test_what_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[tuple[int, int]]()

    def answer(recipe: Recipe, target: Target, *, devices: int, **others: Any) -> Answer:
        asked.append((devices, recipe.training.batch_size))
        own = replace(PROGRAM, operations=1.97e12, bytes_accessed=81.9e9) if devices == 1 else "out of memory"
        return replace(ANSWER, training=replace(ANSWER.training, own=own))

    monkeypatch.setattr(scaling, "ask", answer)
    one, two = scaling.table("imdb_bert", TARGETS["v5e"], (1, 2), None)
    assert asked == [(1, 24), (2, 48)]
    assert one[2] == "100.0 ms"  # by bytes
    assert two[:2] == ("2", "out of memory")
