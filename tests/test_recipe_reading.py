"""Recipe text to a recipe: YAML 1.2, places, overlays, and what each bad input gets (bad-inputs: Recipe)."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import RecipeError
from zoo.recipe import load_recipe
from zoo.recipe.reading import MAX_BYTES
from zoo.recipe.training_group import Training
from zoo.recipe.yaml12 import MAX_DEPTH, read_yaml

GOOD = """\
name: mine
data:
  dataset: imdb
model:
  backbone: {family: bert, preset: some_bert}
training:
  epochs: 3
profiles:
  cpu:
    training.epochs: 1
    data.limit: {train: 10}
"""


def write(folder: Path, text: str | bytes, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def faults_of(folder: Path, text: str | bytes, **options: Any) -> list[str]:
    """The faults of a recipe, each without the folder in which it lies."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(folder, text), **options)
    assert caught.value.exit_code == 2
    return [fault.replace(f"{folder}/", "") for fault in caught.value.faults]


def only_fault(folder: Path, text: str | bytes, **options: Any) -> str:
    faults = faults_of(folder, text, **options)
    assert len(faults) == 1, faults
    return faults[0]


class TestScalars:
    """YAML 1.2 core, not 1.1."""

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1e-5", 1e-5),
            ("2.0e-5", 2e-5),
            (".5", 0.5),
            ("1.", 1.0),
            ("-3", -3),
            ("0o17", 15),
            ("0x1F", 31),
            ("010", 10),
            ("1_000", "1_000"),
            ("1:30", "1:30"),
            ("no", "no"),
            ("on", "on"),
            ("Yes", "Yes"),
            ("y", "y"),
            ("2026-11-22", "2026-11-22"),
            ("=", "="),
            ("<<", "<<"),
            ("true", True),
            ("False", False),
            ("null", None),
            ("~", None),
            ("", None),
            (".inf", math.inf),
            ("-.INF", -math.inf),
            ("'16'", "16"),
            ('"caf\\u00e9 \\U0001F600"', "café 😀"),
            ("[1, a, 2.5]", [1, "a", 2.5]),
            ("{no: yes, 1: x}", {"no": "yes", "1": "x"}),
        ],
    )
    def test_reads(self, text: str, value: object) -> None:
        read = read_yaml(text, "t").data
        assert read == value
        assert type(read) is type(value)

    def test_nan(self) -> None:
        assert math.isnan(read_yaml(".nan", "t").data)

    def test_places_of_keys_and_values(self) -> None:
        document = read_yaml("a: 1\nb:\n  c: [x,\n    y]\n", "f.yaml")
        assert str(document.keys["b", "c"]) == "f.yaml:3:3"
        assert str(document.values["b", "c", 1]) == "f.yaml:4:5"
        assert str(document.place(("b", "missing"))) == "f.yaml:2:1"


class TestNoText:
    def test_missing_file_lists_near_names(self, tmp_path: Path) -> None:
        write(tmp_path, GOOD, "imdb_bert.yaml")
        with pytest.raises(RecipeError, match=r"got no such file, .*did you mean .*imdb_bert\.yaml"):
            load_recipe(tmp_path / "imdb_brt.yaml")

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(RecipeError, match=r"the folder .*nowhere does not exist either"):
            load_recipe(tmp_path / "nowhere" / "a.yaml")

    def test_folder(self, tmp_path: Path) -> None:
        write(tmp_path, GOOD)
        with pytest.raises(RecipeError, match=r"got a folder, expected a recipe file, as one of mine\.yaml"):
            load_recipe(tmp_path)

    def test_nul_in_the_path(self) -> None:
        with pytest.raises(RecipeError, match="cannot be read"):
            load_recipe("a\0b.yaml")

    @pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
    def test_empty(self, tmp_path: Path, text: str) -> None:
        assert "got an empty file, expected a recipe" in only_fault(tmp_path, text)

    def test_binary(self, tmp_path: Path) -> None:
        assert "got a binary file" in only_fault(tmp_path, b"\x80\x04\x95\0\0\0")

    def test_not_utf8(self, tmp_path: Path) -> None:
        assert "got the byte 0xe9 at offset 9, expected UTF-8" in only_fault(tmp_path, b"name: caf\xe9\n")

    def test_control_character(self, tmp_path: Path) -> None:
        assert r"mine.yaml:2:7  got the control character '\x07'" in only_fault(tmp_path, "a: b\nname: \x07\n")

    def test_too_large(self, tmp_path: Path) -> None:
        assert "got more than 256 KB" in only_fault(tmp_path, GOOD + "#" * MAX_BYTES)

    def test_bom_and_crlf_are_accepted(self, tmp_path: Path) -> None:
        text = b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()
        assert load_recipe(write(tmp_path, text)).name == "mine"

    @pytest.mark.parametrize("text", ["[1, 2]", "just text", "3", "- name: x"])
    def test_no_group(self, tmp_path: Path, text: str) -> None:
        assert re.search(r"mine\.yaml:1:1  recipe: got .*, expected a group of keys", only_fault(tmp_path, text))


class TestSyntax:
    def test_caret_under_the_spot(self, tmp_path: Path) -> None:
        fault = only_fault(tmp_path, "name: mine\ndata: {dataset: imdb\n  model: x\n")
        first, line, caret = fault.split("\n")
        assert first.startswith("mine.yaml:3:8  YAML: ")
        assert line[caret.index("^")] == ":"

    def test_tab_indent(self, tmp_path: Path) -> None:
        fault = only_fault(tmp_path, "name: mine\ndata:\n\tdataset: imdb\n")
        assert fault.startswith("mine.yaml:3:1  YAML: got a tab as indent, expected spaces")

    def test_two_documents(self, tmp_path: Path) -> None:
        assert "got a second document" in only_fault(tmp_path, GOOD + "---\nname: other\n")

    def test_escape_that_is_no_character(self, tmp_path: Path) -> None:
        assert "escape that is no character" in only_fault(tmp_path, 'name: "\\UFFFFFFFF"\n')

    def test_lone_surrogate(self, tmp_path: Path) -> None:
        assert "name: got " in only_fault(tmp_path, GOOD.replace("mine", '"\\ud800"', 1))

    def test_syntax_never_echoes_a_secret(self, tmp_path: Path) -> None:
        fault = only_fault(tmp_path, "name: mine\napi_key: [s3cr3t-value\nx: y\n")
        assert "s3cr3t" not in fault
        fault = only_fault(tmp_path, "hub_token: s3cr3t: value\n")
        assert "s3cr3t" not in fault
        assert "looks like a secret" in fault


class TestRefused:
    def test_duplicate_key_names_both_lines(self, tmp_path: Path) -> None:
        fault = only_fault(tmp_path, GOOD + "name: other\n")
        assert fault == ("mine.yaml:12:1  name: got this key a second time, expected it once: the first is on line 1")

    def test_duplicate_key_in_a_flow_group(self, tmp_path: Path) -> None:
        text = GOOD.replace("family: bert,", "family: bert, family: roberta,")
        assert "model.backbone.family: got this key a second time" in only_fault(tmp_path, text)

    def test_anchor_alias_and_tag_all_at_once(self, tmp_path: Path) -> None:
        text = GOOD.replace("epochs: 3", "epochs: &n 3\n  steps: *n") + "seed: !!python/object:os.system 3\n"
        assert faults_of(tmp_path, text) == [
            "mine.yaml:7:11  training.epochs: got the anchor &n, expected a plain value",
            "mine.yaml:8:10  training.steps: got the alias *n, expected the value written out",
            "mine.yaml:13:7  seed: got the tag tag:yaml.org,2002:python/object:os.system, "
            "expected a plain value, without a tag",
        ]

    def test_billion_laughs_is_refused_at_once(self, tmp_path: Path) -> None:
        lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 30)]
        assert any("got the alias *a28" in fault for fault in faults_of(tmp_path, "\n".join(lines)))

    @pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000, "\n".join(" " * n + "a:" for n in range(400))])
    def test_deep_nesting(self, tmp_path: Path, text: str) -> None:
        assert f"nested deeper than {MAX_DEPTH} levels" in only_fault(tmp_path, text)

    def test_key_that_is_a_list(self, tmp_path: Path) -> None:
        assert "got a list or a group as a key" in "\n".join(faults_of(tmp_path, GOOD + "? [a, b]\n: 3\n"))

    def test_newer_version_says_so_alone(self, tmp_path: Path) -> None:
        fault = only_fault(tmp_path, "version: 2\nsomething: new\n" + GOOD)
        assert fault.startswith("mine.yaml:1:10  version: got 2, expected 1: ")
        assert "upgrade" in fault

    @pytest.mark.parametrize("version", ["0", "'1'", "true", "1.0", "null"])
    def test_no_version_at_all(self, tmp_path: Path, version: str) -> None:
        assert "version: got" in only_fault(tmp_path, f"version: {version}\n{GOOD}")


class TestSecrets:
    @pytest.mark.parametrize("key", ["token", "hf_token", "password", "api_key", "apikey", "HF_TOKEN", "client-secret"])
    def test_value_is_never_echoed(self, tmp_path: Path, key: str) -> None:
        for text in (GOOD + f"{key}: s3cr3t\n", GOOD.replace("dataset: imdb", f"dataset: imdb\n  {key}: s3cr3t")):
            fault = only_fault(tmp_path, text)
            assert "s3cr3t" not in fault
            assert "got a key for a secret" in fault
        assert "s3cr3t" not in only_fault(tmp_path, GOOD, overrides=[f"data.{key}=s3cr3t"])
        assert "s3cr3t" not in only_fault(tmp_path, GOOD, overrides={f"data.{key}": "s3cr3t"})

    @pytest.mark.parametrize(
        "secret",
        ["hf_abcdefghijklmnopqrst", "sk-abcdefghijklmnopqrst", "https://me:s3cr3t@host/x", "ghp_abcdefghijklmn"],
    )
    def test_value_that_looks_like_one(self, tmp_path: Path, secret: str) -> None:
        fault = only_fault(tmp_path, GOOD.replace("epochs: 3", f"epochs: '{secret}'"))
        assert secret not in fault
        assert "training.epochs: got (a value that looks like a secret" in fault

    def test_group_is_shown_by_its_keys(self, tmp_path: Path) -> None:
        fault = only_fault(tmp_path, GOOD.replace("epochs: 3", "epochs: {password: s3cr3t}"))
        assert "s3cr3t" not in fault

    def test_tokens_is_no_secret(self, tmp_path: Path) -> None:
        assert 'got "no"' in only_fault(tmp_path, GOOD + "tokens: {max_length: no}\n")

    def test_broken_override(self, tmp_path: Path) -> None:
        assert "s3cr3t" not in only_fault(tmp_path, GOOD, overrides=["password:s3cr3t"])


class TestProfilesAndOverrides:
    def test_profile_replaces_leaves_and_groups(self, tmp_path: Path) -> None:
        recipe = load_recipe(write(tmp_path, GOOD), profile="cpu")
        assert (recipe.training.epochs, recipe.data.limit.train) == (1, 10)
        assert load_recipe(write(tmp_path, GOOD)).training.epochs == 3

    def test_group_replaces_whole(self, tmp_path: Path) -> None:
        fresh = "{family: roberta, num_layers: 2, num_heads: 2, hidden_dim: 8, intermediate_dim: 8, vocabulary: v}"
        recipe = load_recipe(write(tmp_path, GOOD + f"    model.backbone: {fresh}\n"), profile="cpu")
        assert recipe.model.backbone.preset is None
        assert recipe.model.backbone.family == "roberta"

    def test_expected_holds_without_a_profile_only(self, tmp_path: Path) -> None:
        text = "expected: {accuracy: 0.9, source: a paper}\n" + GOOD
        assert load_recipe(write(tmp_path, text)).expected is not None
        assert load_recipe(write(tmp_path, text), profile="cpu").expected is None
        own = text + "    expected: {accuracy: 0.8, source: measured}\n"
        found = load_recipe(write(tmp_path, own), profile="cpu").expected
        assert found is not None
        assert found.accuracy == 0.8

    def test_unknown_profile(self, tmp_path: Path) -> None:
        fault = only_fault(tmp_path, GOOD, profile="cpuu")
        assert fault == 'mine.yaml:8:1  profile: got "cpuu", expected one of cpu (did you mean cpu?)'

    def test_profile_of_a_recipe_without(self, tmp_path: Path) -> None:
        assert "there are none" in only_fault(tmp_path, GOOD.split("profiles")[0], profile="cpu")

    def test_fault_of_a_profile_is_placed_in_it(self, tmp_path: Path) -> None:
        text = GOOD.replace("training.epochs: 1", "training.epoch: 1").replace("train: 10", "train: ten")
        assert faults_of(tmp_path, text, profile="cpu") == [
            f"mine.yaml:10:5  training.epoch: got an unknown key, expected one of {', '.join(Training.model_fields)} "
            "(did you mean epochs?)",
            'mine.yaml:11:25  data.limit.train: got "ten", expected a whole number above 0 and at most 1,000,000,000, '
            "or null",
        ]

    @pytest.mark.parametrize("profiles", ["3", "{cpu: 3}", "[cpu]", "{'..': {seed: 1}}"])
    def test_malformed_profiles(self, tmp_path: Path, profiles: str) -> None:
        assert "profiles" in only_fault(tmp_path, GOOD.split("profiles")[0] + f"profiles: {profiles}\n")

    def test_overrides_as_text_and_as_mapping(self, tmp_path: Path) -> None:
        path = write(tmp_path, GOOD)
        as_text = load_recipe(path, overrides=["training.optimizer.learning_rate=1e-4", "backend=torch"])
        as_mapping = load_recipe(path, overrides={"training.optimizer.learning_rate": 1e-4, "backend": "torch"})
        assert as_text == as_mapping
        assert as_text.training.optimizer.learning_rate == 1e-4

    def test_overrides_go_over_the_profile(self, tmp_path: Path) -> None:
        assert load_recipe(write(tmp_path, GOOD), profile="cpu", overrides=["training.epochs=7"]).training.epochs == 7

    def test_override_into_a_group_left_out(self, tmp_path: Path) -> None:
        recipe = load_recipe(write(tmp_path, GOOD), overrides=["training.schedule.warmup=0.2", "tokens.max_length=64"])
        assert (recipe.training.schedule.type, recipe.training.schedule.warmup) == ("linear", 0.2)

    def test_override_of_an_unknown_key(self, tmp_path: Path) -> None:
        fault = only_fault(tmp_path, GOOD, overrides=["trainin.epochs=1"])
        assert fault.startswith("--set trainin  trainin: got an unknown key") or "did you mean training" in fault

    @pytest.mark.parametrize("text", ["epochs", "=3", "", "  =3"])
    def test_override_without_key_or_value(self, tmp_path: Path, text: str) -> None:
        assert "expected dotted.key=value" in only_fault(tmp_path, GOOD, overrides=[text])

    def test_override_with_broken_yaml(self, tmp_path: Path) -> None:
        fault = only_fault(tmp_path, GOOD, overrides=["training.epochs=[1"])
        assert fault.startswith("--set training.epochs  training.epochs: YAML: ")

    @pytest.mark.parametrize("key", ["name.deep", "name.x.y", "data.dataset.x"])
    def test_override_inside_a_single_value(self, tmp_path: Path, key: str) -> None:
        assert "inside a single value" in only_fault(tmp_path, GOOD, overrides=[f"{key}=1"])

    @pytest.mark.parametrize("key", ["version", "profiles.cpu.seed"])
    def test_what_no_overlay_may_change(self, tmp_path: Path, key: str) -> None:
        assert "expected it in the recipe file alone" in only_fault(tmp_path, GOOD, overrides=[f"{key}=1"])

    def test_override_with_an_alias(self, tmp_path: Path) -> None:
        assert "got the alias *x" in only_fault(tmp_path, GOOD, overrides=["training.epochs=*x"])

    def test_recipe_override_method(self, tmp_path: Path) -> None:
        recipe = load_recipe(write(tmp_path, GOOD))
        changed = recipe.override({"training.epochs": 1, "model.head.type": "binary"})
        assert (changed.training.epochs, changed.model.head.type, recipe.training.epochs) == (1, "binary", 3)
        assert changed.profiles == recipe.profiles
        with pytest.raises(RecipeError, match=r"override training\.epoch  training\.epoch: got an unknown key"):
            recipe.override({"training.epoch": 1})


class TestPaths:
    def test_files_are_absolute_against_the_recipe(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir("/")
        text = GOOD.replace("dataset: imdb", "files: {train: rows/a.csv, test: ../b.csv}")
        files = load_recipe(write(tmp_path, text)).data.files
        assert files is not None
        assert (files.train, files.test) == (str(tmp_path / "rows/a.csv"), str(tmp_path.parent / "b.csv"))

    @pytest.mark.parametrize("preset", ["./some_bert", "some_bert"])
    def test_local_preset(self, tmp_path: Path, preset: str) -> None:
        (tmp_path / "some_bert").mkdir()
        text = GOOD.replace("preset: some_bert", f"preset: {preset}")
        assert load_recipe(write(tmp_path, text)).model.backbone.preset == str(tmp_path / "some_bert")

    @pytest.mark.parametrize("preset", ["some_bert", "hf://org/name@main", "kaggle://a/b", "pypi://a==1#b"])
    def test_other_presets_stay(self, tmp_path: Path, preset: str) -> None:
        text = GOOD.replace("preset: some_bert", f"preset: '{preset}'")
        assert load_recipe(write(tmp_path, text)).model.backbone.preset == preset

    def test_paths_of_profiles(self, tmp_path: Path) -> None:
        recipe = load_recipe(write(tmp_path, GOOD + "    model.backbone.preset: ./here\n"))
        assert recipe.profiles["cpu"]["model.backbone.preset"] == str(tmp_path / "here")

    def test_far_too_long_a_name(self, tmp_path: Path) -> None:
        text = GOOD.replace("some_bert", "x" * 5000)
        assert load_recipe(write(tmp_path, text)).model.backbone.preset == "x" * 5000
