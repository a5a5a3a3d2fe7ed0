"""tools/compile_for.py with a stand-in for what compilers say: the table, the ratios, what is refused, what is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recipes
from tools import compile_for
from zoo import check
from zoo.backend import CompiledProgram
from zoo.backend.compiled_program import Collective, Kernels
from zoo.backend.compilers import COMPILERS, TARGETS, environment
from zoo.data import compilations
from zoo.data.against_catalog import dimensions
from zoo.data.batches import filled_up
from zoo.data.dataset import load_dataset, stated_task
from zoo.data.parts import load_parts
from zoo.data.token_cache import encode_splits
from zoo.errors import DataError, EnvironmentFault
from zoo.models.builder import outline, plan
from zoo.recipe.estimate import machine_named
from zoo.training.compile_request import REPLY, Answer, Refusal, Step, answered

ROOT = Path(__file__).resolve().parents[1]
V5E = machine_named("TPU v5e")


def program(operations: float | None, moved: float | None, **changes: Any) -> CompiledProgram:
    """What a compiler could say: 5 GB in all, unless it is changed."""
    made = CompiledProgram(
        arguments=2_000_000_000,
        results=1_500_000_000,
        aliased=1_500_000_000,
        temporaries=3_000_000_000,
        code=0,
        operations=operations,
        bytes_accessed=moved,
        kernels=Kernels(),
        collectives={},
        compile_seconds=400.0,
    )
    return replace(made, **changes)


ANSWER = Answer(
    precision="bfloat16",
    training=Step(
        rows=32,
        length=512,
        products=985 * 10**9,
        own=program(1.97e12, 81.9e9, kernels=Kernels(count=3, estimated=2, operations=5, bytes=40_000_000_000)),
        stock=program(1.97e12, 163.8e9),
    ),
    prediction=Step(rows=64, length=512, products=394 * 10**9, own=program(0.394e12, 0.819e9), stock=None),
    steps=1000,
)
"""Steps that take 100 ms at the peak of bytes, 2 ms at that of operations, and 5 ms in the products."""


class Compilers:
    """In place of the process that compiles: its answer, and what was asked for."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def __call__(self, recipe: Any, target: Any, **named: Any) -> Answer:
        self.asked.append({"batch_size": recipe.training.batch_size, "target": target.name, **named})
        return self.answer


@pytest.fixture(autouse=True)
def _no_compilers(monkeypatch: pytest.MonkeyPatch, own_cache: None) -> None:
    monkeypatch.delenv(COMPILERS, raising=False)


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = compile_for.main(list(arguments))
    return (code, *capsys.readouterr())


def rows_of(table: str) -> dict[str, list[str]]:
    """The cells of a table by their label; what is aligned has two spaces between it and the next."""
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.splitlines()]
    return {row[0]: row[1:] for row in cells if row}


# --- what is shown ------------------------------------------------------------------------------


def test_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    compilers = Compilers(ANSWER)
    monkeypatch.setattr(compile_for, "ask", compilers)
    given = ["imdb_bert", "--device", "v5e", "--stock", "--compilers", "here", "--set", "training.batch_size=16"]
    code, out, _ = run(*given, capsys=capsys)
    assert code == 0
    assert compilers.asked == [{"batch_size": 16, "target": "v5e", "devices": 1, "stock": True, "folder": Path("here")}]
    assert out.startswith("imdb_bert: rows of 512 tokens, bfloat16, on 1 x TPU v5e (")
    rows = rows_of(out)
    heads = next(line for line in out.splitlines() if "ours / it" in line)
    assert heads.split("  ")[-3:] == ["keras-hub's training, 32 rows", "ours / it", "prediction, 64 rows"]
    assert rows["memory, of 16.0 GB"] == ["5.0 GB", "5.0 GB", "1.00", "5.0 GB"]
    assert rows["results that replace no argument"] == ["0 bytes", "0 bytes", "0 bytes"]
    assert rows["operations"] == ["1.97 T", "1.97 T", "1.00", "394 G"]
    assert rows["bytes accessed"] == ["81.9 GB", "163.8 GB", "0.50", "819.0 MB"]
    assert rows["of the bytes accessed by kernels of our own"] == ["40.0 GB"]
    assert rows["operations at 197 TFLOP/s in bfloat16"] == ["10 ms", "10 ms", "1.00", "2 ms"]
    assert rows["bytes at 819 GB/s"] == ["100 ms", "200 ms", "0.50", "1 ms"]
    assert rows["a step by roofline, the longer of the two"] == ["100 ms", "200 ms", "0.50", "2 ms"]
    assert rows["the model's products alone, at that peak"] == ["5 ms", "5 ms", "1.00", "2 ms"]
    assert rows["1,000 training steps"] == ["100 s", "200 s", "0.50"]
    assert rows["compiled in"] == ["6.67 min", "6.67 min", "1.00", "6.67 min"]
    assert "1 kernels of our own do not say what they cost" in out


def test_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_for, "ask", Compilers(ANSWER))
    code, out, _ = run("imdb_bert", "--device", "v5e", "--format", "json", capsys=capsys)
    found = json.loads(out)
    assert (code, found["device"], found["steps"]) == (0, "TPU v5e", 1000)
    assert list(found["programs"]) == ["training", "keras-hub's training", "prediction"]
    training = found["programs"]["training"]
    assert (training["memory"], training["bound"]) == (5_000_000_000, "bytes")
    assert (training["seconds"], training["recipe"]) == pytest.approx((0.1, 100.0))
    assert found["programs"]["prediction"]["bound"] == "operations"
    assert found["programs"]["prediction"]["recipe"] is None


def test_where_the_compiler_tells_no_work(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the model's own products are counted, and it is said."""
    training = replace(ANSWER.training, own=program(None, None, kernels=Kernels(count=4)), stock=None)
    prediction = replace(ANSWER.prediction, own=program(None, None))
    monkeypatch.setattr(compile_for, "ask", Compilers(replace(ANSWER, training=training, prediction=prediction)))
    _, out, _ = run("imdb_bert", "--device", "h100", capsys=capsys)
    rows = rows_of(out)
    assert rows["the model's products alone, at that peak"] == ["996 µs", "398 µs"]
    assert rows["1,000 training steps, the products alone"] == ["996 ms"]
    assert "The compiler tells neither operations nor bytes" in out
    assert not {"operations", "bytes accessed", "a step by roofline, the longer of the two"} & set(rows)
    assert "do not say what they cost" not in out


def test_several_devices_share_the_products(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = {"all-reduce": Collective(count=1, bytes=440_000_000)}
    own = program(1e12, 1e9, collectives=sent)
    monkeypatch.setattr(compile_for, "ask", Compilers(replace(ANSWER, training=replace(ANSWER.training, own=own))))
    _, out, _ = run("imdb_bert", "--device", "v5e", "--devices", "4", capsys=capsys)
    rows = rows_of(out)
    assert rows["sent by all-reduce"] == ["440.0 MB"]
    assert rows["the model's products alone, at that peak"][0] == "1.25 ms"
    assert "one of 4 devices" in out


@pytest.mark.parametrize(
    ("own", "code", "told"),
    [
        (
            "RESOURCE_EXHAUSTED: Used 21.7G of 15.75G hbm",
            5,
            "training was not compiled: RESOURCE_EXHAUSTED: Used 21.7G",
        ),
        (program(1e12, 1e9, temporaries=15_000_000_000), 0, "1 of 2 steps take more memory than the device has"),
    ],
)
def test_what_does_not_fit(
    own: Any, code: int, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = replace(ANSWER, training=replace(ANSWER.training, own=own, stock=None))
    monkeypatch.setattr(compile_for, "ask", Compilers(answer))
    found, out, _ = run("imdb_bert", "--device", "v5e", capsys=capsys)
    assert (found, told in out) == (code, True)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--device", "v7"], "v7"),
        (["--device", "v5e", "--devices", "5"], "got 5, expected a divisor of training.batch_size, which is 24: pass"),
        (["--device", "v5e", "--devices", "0"], "got 0, expected 1 to 256"),
        (
            ["--device", "v5e", "--set", "training.devices=2", "--set", "training.model_parallel=2"],
            "parallel: got 2, exp",
        ),
        (["--device", "v5e", "--profile", "gpu"], "gpu"),
        ([], "--device"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run("imdb_bert", *arguments, capsys=capsys)
    assert (code, told in err) == (2, True)


@pytest.mark.parametrize(("device", "package"), [("v5e", "libtpu"), ("h100", "jax-cuda13-plugin[with-cuda]")])
@pytest.mark.parametrize("given", [True, False])
def test_a_compiler_that_is_missing_is_named(
    device: str, package: str, given: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--compilers", str(tmp_path)] if given else []
    code, _, err = run("imdb_bert", "--device", device, *folder, capsys=capsys)
    assert code == 4
    assert f"pip install --target {tmp_path if given else 'compilers'} " in err
    assert f"'{package}" in err or f" {package}" in err


def test_where_compilers_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of pip's, by its packages; what they need of the environment is made from it."""
    toolkit = tmp_path / "nvidia/cu13"
    for folder in (tmp_path / "libtpu", tmp_path / "jax_plugins/xla_cuda13", toolkit / "nvvm/libdevice"):
        folder.mkdir(parents=True)
    for folder in (toolkit / "bin", toolkit / "lib"):
        folder.mkdir()
    with pytest.raises(EnvironmentFault):
        environment(TARGETS["v5e"], tmp_path)  # a folder without the library
    for file in (tmp_path / "libtpu/libtpu.so", toolkit / "bin/ptxas"):
        file.touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", "/own")
    tpu, gpu = environment(TARGETS["v6e"], tmp_path), environment(TARGETS["a100"], tmp_path)
    assert tpu["TPU_LIBRARY_PATH"] == str(tmp_path / "libtpu/libtpu.so")
    assert gpu["LD_LIBRARY_PATH"].split(os.pathsep) == [str(toolkit / "lib"), "/own"]
    assert f"--xla_gpu_cuda_data_dir={toolkit}" in gpu["XLA_FLAGS"]
    assert tpu["JAX_PLATFORMS"] == gpu["JAX_PLATFORMS"] == "cpu"


def test_the_answer_of_the_process() -> None:
    """The last line counts; an error is raised as what it was, and a process without an answer is one."""
    assert answered(0, "a note of a compiler\n" + REPLY.dump_json(ANSWER).decode() + "\n") == ANSWER
    refusal = REPLY.dump_json(Refusal(exit_code=3, faults=("no rows", "no labels"))).decode()
    with pytest.raises(DataError, match="no rows\nno labels"):
        answered(0, refusal)
    with pytest.raises(EnvironmentFault, match="signal 9"):
        answered(-9, "")


# --- what is kept -------------------------------------------------------------------------------


def checked(**changes: Any) -> dict[str, Any]:
    report = check.examine(recipes.path("imdb_bert"), overrides=changes)
    notes = [text for topic, text in report.notes if topic == "estimate"]
    return report.estimate | {"notes": notes}


def test_the_check_takes_what_was_compiled_in_place_of_its_formula() -> None:
    recipe = recipes.load("imdb_bert")
    size = dimensions(recipe.model.backbone)
    assert size is not None
    before = checked()
    step = compilations.step_of(recipe, size, "TPU v5e", "bfloat16")
    compilations.keep(step, program(1.97e12, 81.9e9))
    compilations.keep(replace(step, machine="A100"), program(None, None, temporaries=90_000_000_000))
    after = checked()
    assert before["compiled"] == []
    assert after["seconds"]["TPU v5e"]["bfloat16"] == pytest.approx(0.1 * after["steps"])
    assert after["seconds"]["TPU v5e"]["bfloat16"] != pytest.approx(before["seconds"]["TPU v5e"]["bfloat16"])
    assert "bfloat16" in before["seconds"]["A100"]
    assert "bfloat16" not in after["seconds"]["A100"]  # what was compiled does not fit
    assert after["seconds"]["H100"] == before["seconds"]["H100"]
    assert any(
        "compiled for TPU v5e in bfloat16" in note and "5.0 GB" in note and "100 ms at the peak of bytes" in note
        for note in after["notes"]
    )
    assert checked(**{"training.batch_size": 16})["compiled"] == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"arguments": "much"}'])
def test_a_damaged_file_counts_as_none(content: bytes, tmp_path: Path) -> None:
    recipe = recipes.load("quickstart", profile="smoke")
    size = dimensions(recipe.model.backbone)
    assert size is not None
    step = compilations.step_of(recipe, size, "H100", "float32")
    compilations.keep(step, program(None, None))
    (file,) = (tmp_path / "cache/compiled-for").iterdir()
    assert compilations.kept(step) == program(None, None)
    file.write_bytes(content)
    assert compilations.kept(step) is None


# --- what a model without weights is made from ---------------------------------------------------


@pytest.mark.parametrize("name", ["imdb_bert", "goemotions_bert", "amazon_stars_bert"])
def test_a_task_knows_the_targets_of_a_batch(name: str) -> None:
    recipe = recipes.load(name, profile="smoke")
    data = load_dataset(recipe)
    table = encode_splits(load_parts(recipe).tokenizer, data, recipe.tokens)["train"]
    batch = filled_up({}, table, data.task.scaled(data.train.labels)[np.arange(4)], np.arange(4), 8)
    assert (batch.labels.shape[1:], batch.labels.dtype) == (data.task.target.shape, data.task.target.dtype)


@pytest.mark.usefixtures("real_cache")
@pytest.mark.parametrize(("name", "profile"), [("quickstart", None), ("sst2_roberta", "smoke")])
def test_sizes_alone_outline_the_same_model(
    name: str, profile: str | None, real_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the epsilon of its norms, which costs nothing."""
    monkeypatch.setenv("ZOO_CACHE", str(real_cache))
    recipe = recipes.load(name, profile=profile)
    parts, task, size = load_parts(recipe), load_dataset(recipe).task, dimensions(recipe.model.backbone)
    assert size is not None
    whole = plan(recipe, preset=parts.preset, tokenizer=parts.tokenizer, task=task)
    found = outline(recipe, size, task)
    epsilon = whole.backbone.layer_norm_epsilon
    assert replace(found, backbone=replace(found.backbone, layer_norm_epsilon=epsilon)) == whole


def test_the_activation_is_that_of_the_preset() -> None:
    """keras-hub's own BERT presets have Google's, those of Hugging Face the exact one."""
    for name, expected in (("imdb_bert", "gelu_tanh"), ("quickstart", "gelu"), ("sst2_roberta", "gelu")):
        recipe = recipes.load(name)
        size = dimensions(recipe.model.backbone)
        task = stated_task(recipe)
        assert size is not None
        assert task is not None
        assert outline(recipe, size, task).backbone.activation == expected


# --- a real compiler ----------------------------------------------------------------------------

COMPILER = os.environ.get(COMPILERS)


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--stock"], ["--devices", "2"]])
def test_two_layers_for_a_tpu(options: list[str]) -> None:
    assert COMPILER, f"{COMPILERS} has to name a folder with libtpu: docs/accelerators.md says how it is made"
    backbone = {"family": "bert", "num_layers": 2, "num_heads": 2, "hidden_dim": 128, "intermediate_dim": 512}
    changes = {"model.backbone": backbone | {"vocabulary": "nano_uncased"}, "tokens": {"max_length": 128}}
    changes |= {"data.dataset": "smoke_reviews"}
    settings = [word for key, value in changes.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    command = [sys.executable, "tools/compile_for.py", "imdb_bert", "--device", "v5e", "--format", "json", *options]
    variables = os.environ | {COMPILERS: COMPILER}
    done = subprocess.run([*command, *settings], capture_output=True, text=True, cwd=ROOT, env=variables, check=True)
    found = json.loads(done.stdout)["programs"]
    stock = {"keras-hub's training", "keras-hub's prediction"} if "--stock" in options else set()
    assert set(found) == {"training", "prediction"} | stock
    for each in found.values():
        # The products are most of the operations, and all that they count is of this model.
        assert each["products"] < each["roofline"]["arithmetic"] < 4 * each["products"]
        assert 0 < each["memory"] < V5E.memory
        assert each["program"]["bytes_accessed"] > 0
    # The gradients of all weights are added up over the devices; a prediction needs nothing of the others.
    training, prediction = (found[name]["program"] for name in ("training", "prediction"))
    assert prediction["collectives"] == {}
    sent = sum(each["bytes"] for each in training["collectives"].values())
    weights = prediction["arguments"] if "--devices" in options else 0
    assert 0.4 * weights <= sent <= 1.2 * weights  # in 2 or in 4 bytes
    assert "training, for TPU v5e: compiled in" in done.stderr
