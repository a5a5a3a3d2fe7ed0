"""Losses are what they were; see tools/golden_losses.py."""

from __future__ import annotations

import pytest

from tools import golden_losses
from zoo.backend import Backend


@pytest.fixture(scope="module")
def found(backend: Backend, as_compiled_for_users: None) -> dict[str, list[float]]:
    return golden_losses.measured()


def test_losses_are_what_they_were(backend: Backend, found: dict[str, list[float]]) -> None:
    assert golden_losses.differences(backend.name, found) == []


def test_another_loss_is_seen(backend: Backend, found: dict[str, list[float]]) -> None:
    case = next(iter(found))
    other = found | {case: [*found[case][:3], found[case][3] + 1e-4, *found[case][4:]]}
    assert golden_losses.differences(backend.name, other)[0].startswith(f"{case}: step 4 is 1.0e-04 off")
    assert len(golden_losses.differences(backend.name, {case: found[case]})) == len(found) - 1
