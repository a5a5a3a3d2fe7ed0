"""Losses are what they were; see tools/golden_losses.py."""

from __future__ import annotations

import pytest

from tools import golden_losses
from zoo.backend import Backend

EACH_TIME = ("classification-bert-packed", "classification-roberta-pairs-binary", "span-bert-windows", "masked-bert")
"""Cases of which backends that compile take the steps each time."""


@pytest.fixture(scope="module")
def found(backend: Backend, as_compiled_for_users: None) -> dict[str, list[float]]:
    return golden_losses.measured(EACH_TIME)


def test_losses_are_what_they_were(backend: Backend, found: dict[str, list[float]]) -> None:
    assert golden_losses.differences(backend.name, found, EACH_TIME) == []


def test_another_loss_is_seen(backend: Backend, found: dict[str, list[float]]) -> None:
    case = next(iter(found))
    other = found | {case: [*found[case][:3], found[case][3] + 1e-4, *found[case][4:]]}
    assert golden_losses.differences(backend.name, other, EACH_TIME)[0].startswith(f"{case}: step 4 is 1.0e-04 off")
    assert len(golden_losses.differences(backend.name, {case: found[case]}, EACH_TIME)) == len(found) - 1


@pytest.mark.at_times
def test_losses_of_the_other_cases(backend: Backend, as_compiled_for_users: None) -> None:
    others = [case for case in golden_losses.CASES if case not in EACH_TIME]
    assert golden_losses.differences(backend.name, golden_losses.measured(others), others) == []
