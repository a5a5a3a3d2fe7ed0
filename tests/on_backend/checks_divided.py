"""Weights that devices share out: what is computed is what one device computes, and each holds its part."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from nano import FAMILIES, nano_recipe

import zoo
from zoo.backend import Backend
from zoo.backend.transformer_jax import AcceleratorKernels
from zoo.errors import EnvironmentFault
from zoo.models import weights
from zoo.models.backbone import DEFAULTS, BackboneConfig
from zoo.models.blueprint import Blueprint, OneHead
from zoo.models.builder import assemble_model
from zoo.models.divided import CUT, dimension, whole_told
from zoo.recipe.heads import ClassifierHead, ContrastiveHead, Head, MaskedHead, TokensHead
from zoo.recipe.trained_group import Lora

pytestmark = pytest.mark.usefixtures("backend")


def test_more_than_there_are(tmp_path: Path) -> None:
    changes = {"training.devices": 2, "training.model_parallel": 2}
    with pytest.raises(EnvironmentFault, match=r"training\.devices: got 2, and jax has 1 here"):
        zoo.train(nano_recipe(changes), tmp_path / "run")


def test_of_several_processes_it_is_refused(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.refuse_model_parallel(2)
    monkeypatch.setattr(backend, "_peers", type("Two", (), {"count": 2}))
    backend.refuse_model_parallel(1)
    with pytest.raises(EnvironmentFault, match=r"training\.model_parallel: got 2, and the run has 2 processes"):
        backend.refuse_model_parallel(2)


# --- the rules ----------------------------------------------------------------------------------

HEADS: tuple[Head, ...] = (ClassifierHead(dropout=0.1), TokensHead(dropout=0.1), MaskedHead(), ContrastiveHead())


def model_of(family: Any, head: Head, *, heads: int = 4, **more: Any) -> Any:
    config = BackboneConfig(
        family=family,
        vocabulary_size=301,
        num_layers=2,
        num_heads=heads,
        hidden_dim=16,
        intermediate_dim=64,
        max_positions=40,
        **DEFAULTS[family],
    )
    units = {"masked": 301}.get(head.type, 3)
    return assemble_model(Blueprint(backbone=config, head=head, units=units, **more), precision="float32", lora=Lora())


def unmatched(model: Any) -> list[str]:
    """Weights as large as one of attention's, or larger, that no rule cuts."""
    return [v.path for v in weights.parameters(model) if np.prod(v.shape) >= 16 * 16 and dimension(v.path) is None]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.type)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_large_weight_has_a_rule(family: str, head: Head) -> None:
    model = model_of(family, head)
    bias = ["logits/bias"] if head.type == "masked" else []  # of the vocabulary, and still a vector
    assert unmatched(model) == bias
    for variable in model.variables:
        place = dimension(variable.path)
        assert place is None or (place < len(variable.shape) and variable.shape[place] % 4 == 0), variable.path


def test_heads_of_several_tasks_have_rules() -> None:
    head = ClassifierHead(dropout=0.1)
    tasks = {name: OneHead(head=head, units=2) for name in ("one", "two")}
    model = model_of("roberta", head, tasks=tasks)
    assert unmatched(model) == []
    assert [dimension(f"head_dense>{name}/kernel") for name in tasks] == [1, 1]


def test_every_rule_is_of_a_weight() -> None:
    models = (model_of(family, HEADS[0]) for family in FAMILIES)
    paths = {"/".join(v.path.split("/")[-2:]) for model in models for v in model.variables}
    assert paths.issuperset(CUT)


def test_a_weight_without_a_rule_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(CUT, "query/kernel")
    layers = [f"transformer_layer_{number}/self_attention_layer/query/kernel" for number in (0, 1)]
    assert unmatched(model_of("bert", HEADS[0])) == layers


def test_what_does_not_divide_is_told() -> None:
    assert whole_told(model_of("bert", HEADS[0]).variables, 4) is None
    odd = model_of("bert", HEADS[0], heads=2)
    told = whole_told(odd.variables, 4) or ""
    names = "query/kernel (2), query/bias (2), key/kernel (2), key/bias (2), value/kernel (2), value/bias (2)"
    assert f"4 does not divide these sizes, so that each device has all of {names}, attention_output/ker" in told
    assert whole_told(odd.variables, 2) is None


def test_kernels_of_accelerators_leave_attention_to_xla() -> None:
    """Where devices share heads; where they share rows alone it is theirs."""
    kernels, x = AcceleratorKernels("tpu", interpret=True), np.zeros((1, 128, 768), np.float32)
    for names, fused in ((("data",), True), (("data", "model"), False)):
        mesh = jax.sharding.AbstractMesh((2,) * len(names), names, (jax.sharding.AxisType.Auto,) * len(names))
        with jax.sharding.use_abstract_mesh(mesh):
            assert kernels._fuses(x, 12, 64) == fused


# --- the runs -----------------------------------------------------------------------------------


def told(folder: Path, *cases: str) -> dict[str, dict[str, Any]]:
    """What divided_runs.py prints, by case."""
    script = Path(__file__).with_name("divided_runs.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), *cases], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {line.pop("case"): line for line in map(json.loads, done.stdout.splitlines())}


def assert_those_of_one(found: dict[str, dict[str, Any]], cases: int) -> None:
    assert len(found) == cases
    for case, of in found.items():
        assert of["steps"] == 21, case
        assert max(of["loss"], of["probability"]) < 1e-5, (case, of)
        assert of["learned"] > 1e-3, case


def assert_held(found: dict[str, dict[str, Any]]) -> None:
    """Each device has its part, of weights and moments; the losses of three steps, dropout on, are those of one."""
    whole = found.pop("held by 1, 1 to a model")
    hidden = 4 * 8 * 32 * 64  # bytes of a batch's hidden states
    assert found
    for case, of in found.items():
        devices, parts = of["devices"], int(case.split()[3])
        assert of["losses"] == pytest.approx(whole["losses"], rel=1e-5), case
        for name in ("weights", "moments"):
            assert of[name] == [whole[name][0] // parts] * devices + [0] * (4 - devices), case
        (state,) = set(of["state"][:devices])
        assert state < 1.1 * whole["state"][0] / parts
        assert max(of["live"]) < 1.01 * state, "nothing lies whole beside it"
        assert of["estimated"] - of["gradients"] / parts == pytest.approx(state, rel=0.02)
        # Of two layers four sums of hidden states each, and once before them they are put together.
        shared = hidden * parts // devices
        gradients = 0 if devices == parts else state / 3
        assert of["sent"]["all-reduce"][1] < 8.5 * shared + gradients, case
        assert of["sent"]["all-gather"][1] < 1.1 * shared, case


def test_each_device_holds_its_part_and_computes_what_one_does(tmp_path: Path) -> None:
    assert_held(told(tmp_path, "steps"))


@pytest.mark.slow
def test_of_any_shape_of_the_mesh(tmp_path: Path) -> None:
    assert_held(told(tmp_path, "held"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "cases",
    [
        ("bert", "distilbert", "roberta"),
        ("in parts", "adversarial", "r_drop", "mixup"),
        ("lora", "lora, dropped", "frozen", "unfrozen", "biases", "native"),
    ],
    ids=lambda cases: cases[0],
)
def test_losses_of_runs_are_those_of_one(cases: tuple[str, ...], tmp_path: Path) -> None:
    """Dropout on, and a last batch of three rows, which two pairs of devices do not share equally."""
    assert_those_of_one(told(tmp_path, *cases), len(cases) + ("bert" in cases))


@pytest.mark.slow
def test_gone_on_with_on_another_number_and_exported(tmp_path: Path) -> None:
    found = told(tmp_path, "resumed", "exported")
    run, other = found.pop("exported"), found.pop("another seed")
    assert_those_of_one(found, 3)
    assert other["loss"] > 1e-3
    assert run == {
        "agreement": 1.0,
        "report": True,
        "status": "done",
        "devices": 2,
        "model_parallel": 2,
        "log": True,
    }
