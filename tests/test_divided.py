"""What a recipe says of weights that devices share out, and who refuses it; what is computed see checks_divided.py."""

from __future__ import annotations

from typing import Any

import pytest

import recipes
from zoo import backend, check, run
from zoo.errors import RecipeError

BACKENDS = ("jax", "tensorflow", "torch")


@pytest.mark.parametrize("name", BACKENDS)
def test_who_can(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "installed", lambda: BACKENDS)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    changes = ["training.devices=4", "training.model_parallel=2", "training.batch_size=8", f"backend={name}"]
    report = check.examine(check.cli.find_recipe("quickstart"), profile="smoke", overrides=changes)
    assert report.exit_code == (0 if name == "jax" else 4)
    told = "\n".join([*map(str, report.faults), *(text for _, text in report.notes)])
    assert "model_parallel 2: of weights, gradients and moments each device has" in told
    refused = f"training.model_parallel: got 2, but on {name} each device has all weights: use 1, or KERAS_BACKEND=jax"
    assert (refused in told) == (name != "jax")


def test_nothing_is_launched_for_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(run, "launch", lambda *given, **named: pytest.fail("processes are started"))
    given = ["--devices", "2", "--set", "training.model_parallel=2"]
    assert run.main(["quickstart", "--profile", "smoke", *given]) == 4
    assert capsys.readouterr().err.count("training.model_parallel: got 2, but on torch") == 1


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"model_parallel": 2}, "model_parallel: got 2 beside devices: 1, expected a divisor of it"),
        (
            {"model_parallel": 2, "devices": 6, "batch_size": 8},
            "got 6, which are 3 groups of model_parallel: 2",
        ),
        ({"model_parallel": 4, "devices": 4, "batch_size": 3}, None),  # they compute the same rows
        ({"model_parallel": 2, "devices": 2, "packing": True}, None),
        ({"model_parallel": 2, "devices": 4, "packing": True}, "beside packing: true, expected 2"),
        ({"model_parallel": 2, "devices": 4, "eval_batch_size": 3}, "eval_batch_size: 3, expected as many groups"),
    ],
)
def test_groups_of_devices(changes: dict[str, Any], fault: str | None) -> None:
    given = {f"training.{key}": value for key, value in changes.items()}
    if fault is None:
        assert recipes.load("imdb_bert_2k", profile="smoke", overrides=given).training.shares == 1
        return
    with pytest.raises(RecipeError) as caught:
        recipes.load("imdb_bert_2k", profile="smoke", overrides=given)
    assert fault in str(caught.value)
