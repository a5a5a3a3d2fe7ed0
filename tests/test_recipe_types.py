"""What the types accept and refuse, and how each fault reads (bad-inputs: Recipe)."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from zoo.errors import RecipeError
from zoo.recipe import Recipe, recipe_from
from zoo.recipe.heads import (
    BinaryHead,
    ClassifierHead,
    MaskedHead,
    MultilabelHead,
    RegressionHead,
    SpanHead,
    TokensHead,
)
from zoo.recipe.schedules import Constant
from zoo.recipe.schema import recipe_schema, rows
from zoo.recipe.staging import Overlay
from zoo.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]

FRESH = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 8, "vocabulary": "v"}


def plain(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The smallest recipe, with some dotted keys put in (DELETE takes one out)."""
    data: dict[str, Any] = {
        "name": "mine",
        "data": {"dataset": "imdb"},
        "model": {"backbone": {"family": "bert", "preset": "x"}},
    }
    for key, value in (changes or {}).items():
        *above, last = key.split(".")
        group = data
        for part in above:
            group = group.setdefault(part, {})
        if value is DELETE:
            del group[last]
        else:
            group[last] = value
    return data


DELETE = object()


def faults_of(changes: dict[str, Any]) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        recipe_from(plain(changes))
    return [fault.partition("  ")[2] for fault in caught.value.faults]


def test_smallest_recipe() -> None:
    recipe = recipe_from(plain())
    assert isinstance(recipe.model.head, ClassifierHead)
    assert recipe.training.schedule.type == "linear"
    assert recipe.training.epochs is None


def test_frozen() -> None:
    recipe = recipe_from(plain())
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 3


def test_a_group_without_type_takes_the_default_one() -> None:
    recipe = recipe_from(plain({"model.head.dropout": 0.3, "training.schedule": {"type": "constant"}}))
    assert recipe.model.head == ClassifierHead(dropout=0.3)
    assert recipe.training.schedule == Constant()
    assert recipe_from(plain({"model.head": {"type": "binary", "threshold": "tune"}})).model.head == BinaryHead(
        threshold="tune"
    )


def test_lists_become_tuples() -> None:
    recipe = recipe_from(plain({"data": {"files": {"train": "a.csv", "text": ["a", "b"], "label_names": ["x", "y"]}}}))
    assert recipe.data.files is not None
    assert recipe.data.files.text == ("a", "b")
    assert recipe.data.files.label_names == ("x", "y")


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("training.epochs", "16", 'got "16", expected a whole number above 0 and at most 10000, or null'),
        ("training.epochs", True, "got true, expected a whole number above 0 and at most 10000, or null"),
        ("training.epochs", 3.0, "got 3.0, expected a whole number above 0 and at most 10000, or null"),
        ("training.epochs", 0, "got 0, expected a whole number above 0 and at most 10000, or null"),
        ("training.batch_size", -1, "got -1, expected a whole number above 0 and at most 65536"),
        ("training.batch_size", None, "got null, expected a whole number above 0 and at most 65536"),
        ("training.optimizer.learning_rate", float("nan"), "got .nan, expected a number above 0"),
        ("training.optimizer.learning_rate", float("inf"), "got .inf, expected a number above 0"),
        ("training.optimizer.learning_rate", 0, "got 0, expected a number above 0"),
        ("training.optimizer.learning_rate", -1e-5, "got -1e-05, expected a number above 0"),
        ("training.optimizer.learning_rate", "1e-5", 'got "1e-5", expected a number above 0'),
        ("training.optimizer.layer_decay", float("nan"), "got .nan, expected a number above 0 and at most 1"),
        ("training.optimizer.weight_decay", float("inf"), "got .inf, expected a number of at least 0"),
        *(
            (
                *("training.schedule.warmup", warmup),
                f"got {warmup}, expected a share of all steps, at least 0 and below 1, or a whole number of steps",
            )
            for warmup in (1.5, -1)
        ),
        ("model.head.dropout", 1, "got 1, expected a number of at least 0 and below 1, or null"),
        ("model.backbone.dropout", float("nan"), "got .nan, expected a number of at least 0 and below 1, or null"),
        ("data.validation.fraction", 1.5, "got 1.5, expected a number above 0 and below 1"),
        ("tokens.max_length", 100000, "got 100000, expected a whole number of at least 4 and at most 8192"),
        ("tokens.truncation", "hed", 'got "hed", expected one of head, tail, head_tail (did you mean head?)'),
        (
            "backend",
            "tensorflo",
            'got "tensorflo", expected one of jax, tensorflow, torch, or null (did you mean tensorflow?)',
        ),
        (
            *("training.optimizer.type", "adamz"),
            'got "adamz", expected one of adamw, adam, sgd, lion, lamb, adafactor, muon (did you mean adam?)',
        ),
        (
            "training.schedule.type",
            "cosin",
            'got "cosin", expected one of linear, cosine, constant, inverse_sqrt, polynomial, one_cycle '
            "(did you mean cosine?)",
        ),
        (
            "training.schedule.type",
            "cosine_restarts",
            'got "cosine_restarts", expected one of linear, cosine, constant, inverse_sqrt, polynomial, one_cycle '
            "(did you mean cosine?)",
        ),
        (
            "training.schedule",
            "linear",
            'got "linear", expected a group of keys with type: linear or cosine or constant or '
            "inverse_sqrt or polynomial or one_cycle "
            "(did you mean {type: linear}?)",
        ),
        (
            "training.schedule.type",
            3,
            "got 3, expected one of linear, cosine, constant, inverse_sqrt, polynomial, one_cycle",
        ),
        ("seed", -1, "got -1, expected a whole number of at least 0 and below 2,147,483,648"),
        ("seed", 2**31, "got 2147483648, expected a whole number of at least 0 and below 2,147,483,648"),
        (
            *("task", "ner"),
            'got "ner", expected one of classification, multilabel, regression, tokens, span, masked, contrastive, '
            "joint",
        ),
        ("name", DELETE, "got nothing, expected a name of at most 64 letters, digits, `_` and `-`"),
        ("model", DELETE, "got nothing, expected a group of keys"),
        ("model.backbone.family", DELETE, "got nothing, expected one of bert, distilbert, roberta"),
        ("data", None, "got null, expected a group of keys"),
        ("data.files", ["a.csv"], 'got ["a.csv"], expected a group of keys, or null'),
    ],
)
def test_value_faults(key: str, value: object, fault: str) -> None:
    assert faults_of({key: value}) == [f"{key}: {fault}"]


@pytest.mark.parametrize(
    "name", ["..", "../x", "/etc/passwd", "a/b", "a\0b", "", "a b", "-x", "x" * 65, "a\n", "ü", "a\\b"]
)
def test_names_stay_in_their_folder(name: str) -> None:
    assert "expected a name of at most 64 letters" in faults_of({"name": name})[0]
    assert "expected a name of at most 64 letters" in faults_of({"data.dataset": name})[0]


@pytest.mark.parametrize("key", ["data.files.train", "data.files.label", "expected.source", "model.backbone.preset"])
@pytest.mark.parametrize("text", ["", "a\0b"])
def test_nul_and_empty_text(key: str, text: str) -> None:
    changes = {"data": {"files": {"train": "a.csv"}}, "expected": {"source": "x"}, key: text}
    (fault,) = faults_of(changes)
    assert fault.startswith(f"{key}: got ")
    assert "\0" not in fault


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("modle", "model"),
        ("training.epoch", "epochs"),
        ("model.backbone.num_layer", "num_layers"),
        ("model.head.droput", "dropout"),
        ("training.learning_rate", "training.optimizer.learning_rate"),
        ("training.max_length", "tokens.max_length"),
    ],
)
def test_unknown_key_has_a_near_one(key: str, near: str) -> None:
    (fault,) = faults_of({key: 1})
    assert fault.startswith(f"{key}: got an unknown key, expected one of ")
    assert fault.endswith(f"(did you mean {near}?)")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"training": {"epochs": 1, "steps": 9}}, "training.steps: got 9 beside epochs: 1"),
        ({"training": {"accumulate": 3}}, "training.accumulate: got 3 beside batch_size: 32, expected a divisor"),
        ({"training": {"accumulate": 2, "packing": True}}, "training.accumulate: got 2 beside packing: true"),
        ({"training": {"remat": True, "dropout_masks": "native"}}, "training.remat: got true beside dropout_masks"),
        ({"data": {}}, "data.dataset: got nothing, expected `data.dataset` or `data.files`"),
        ({"data.files": {"train": "a"}}, "data.files: got files beside dataset: imdb"),
        ({"data.validation.fraction": 0.6, "data.test.fraction": 0.5}, "data.validation.fraction: got 1.1 together"),
        ({"training.stop": {}}, "training.stop.target: got none of target, hours and tokens"),
        ({"training.steps": 9, "training.schedule": {"warmup": 9}}, "training.schedule.warmup: got 9 steps"),
        (
            {"training.optimizer": {"type": "sgd", "momentum": 0.0, "nesterov": True}},
            "training.optimizer.nesterov: got true, expected false with momentum: 0",
        ),
        ({"tokens": {"head": 9}}, "tokens.head: got 9, expected null with truncation: head"),
        ({"tokens": {"head": 126, "truncation": "head_tail"}}, "tokens.head: got 126, expected at most 125"),
        ({"model.backbone": {"family": "bert", "preset": "x", **FRESH}}, "model.backbone.num_layers: got num_layers"),
        ({"model.backbone.preset": DELETE}, "model.backbone.preset: got no preset and no num_layers"),
        (
            {"model.backbone": {"family": "bert", **FRESH, "num_heads": 3}},
            "model.backbone.hidden_dim: got 8, expected a multiple of num_heads: 3",
        ),
        ({"model.backbone.preset": "s3://bucket/x"}, "model.backbone.preset: got s3://, expected a catalog name"),
        (
            {"model.backbone": {"family": "bert", **FRESH}, "tokens.max_length": 513},
            "tokens.max_length: got 513, expected at most the backbone's 512",
        ),
        (
            {"model.backbone": {"family": "bert", **FRESH}, "model.head.init": "preset"},
            "model.head.init: got preset",
        ),
        (
            {"data": {"files": {"train": "a", "label_names": ["x", "y", "z"]}}, "model.head.type": "binary"},
            "data.files.label_names: got 3 classes, expected 2 with model.head.type: binary",
        ),
        (
            {"data": {"files": {"train": "a", "label_names": ["x", "y", "x"]}}},
            "data.files.label_names: got x more than once",
        ),
        ({"data": {"files": {"train": "a", "label_names": ["x"]}}}, "data.files.label_names: got 1 class"),
        ({"data": {"files": {"train": "a", "text": "label"}}}, "data.files.label: got label, the text column"),
        ({"data": {"files": {"train": "a", "text": ["a", "label"]}}}, "data.files.label: got label, the text column"),
        ({"data": {"files": {"train": "a", "text": ["a", "a"]}}}, "data.files.text: got the column a twice"),
        ({"data": {"files": {"train": "a", "test": "a"}}}, "data.files.test: got a, the training file"),
        (
            {"data": {"files": {"train": "a", "test": "b", "validation": "b"}}},
            "data.files.test: got b, the validation file",
        ),
        ({"data": {"files": {"train": "a", "encoding": "utf-99"}}}, "data.files.encoding: got utf-99"),
        ({"data": {"files": {"train": "a", "encoding": "rot13"}}}, "data.files.encoding: got rot13"),
    ],
)
def test_contradictions(changes: dict[str, Any], fault: str) -> None:
    found = faults_of(changes)
    assert len(found) == 1, found
    assert found[0].startswith(fault)


def test_all_faults_at_once() -> None:
    found = faults_of(
        {
            "nam": 1,
            "seed": "x",
            "data": {
                "files": {"train": 3, "text": "label"},
                "validation": {"fraction": 0.6},
                "test": {"fraction": 0.6},
            },
            "training": {"epochs": 1, "steps": 2, "batch_size": 0},
            "model.backbone.family": "brt",
        }
    )
    keys = [fault.partition(":")[0] for fault in found]
    assert sorted(keys) == sorted(
        [
            "nam",
            "seed",
            "data.files.train",
            "data.files.label",
            "data.validation.fraction",
            "training.batch_size",
            "training.steps",
            "model.backbone.family",
        ]
    )


def test_nothing_is_said_twice_of_a_misspelt_key() -> None:
    (fault,) = faults_of({"model.backbone": {"family": "bert", "presett": "x"}})
    assert "did you mean preset?" in fault


def test_union_faults_name_the_item() -> None:
    assert faults_of({"data": {"files": {"train": "a", "text": ["a", 3]}}}) == [
        "data.files.text[1]: got 3, expected text (not empty, no NUL, no secret)"
    ]
    (fault,) = faults_of({"data": {"files": {"train": "a", "text": ["a", "b", "c"]}}})
    assert fault.startswith('data.files.text: got ["a", "b", "c"], expected text')


def test_profiles_do_not_count_for_equality() -> None:
    assert recipe_from(plain({"profiles": {"cpu": {"seed": 1}}})) == recipe_from(plain())
    assert recipe_from(plain({"seed": 1})) != recipe_from(plain())
    assert recipe_from(plain()) != "mine"


def test_direct_construction_refuses_contradictions() -> None:
    with pytest.raises(ValidationError, match=r"training\.steps: got 9 beside epochs: 1"):
        Recipe.model_validate(plain({"training": {"epochs": 1, "steps": 9}}))


def test_every_key_is_documented() -> None:
    assert [row.key for row in rows() if not row.node.get("description", "").endswith((".", "`"))] == []
    assert len(list(rows())) > 60


def test_every_group_is_strict_and_frozen() -> None:
    def groups(kind: type[BaseModel]) -> set[type[BaseModel]]:
        return {kind} | {found for child in kind.__subclasses__() for found in groups(child)}

    from zoo.recipe.kinds import Config

    found = groups(Config)
    assert Recipe in found
    for group in found:
        config = group.model_config
        # The keys of a stage are those of the recipe, and are refused where they are laid over it.
        extra = "allow" if group is Overlay else "forbid"
        assert (config["strict"], config["frozen"], config["extra"]) == (True, True, extra), group


def test_schema_accepts_the_smallest_recipe_and_refuses_an_unknown_key() -> None:
    jsonschema.validate(plain(), recipe_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain({"nam": 1}), recipe_schema())


def test_schema_file_is_fresh() -> None:
    assert json.loads((ROOT / "zoo/recipe/schema.json").read_text(encoding="utf-8")) == recipe_schema()


def test_any_figure_of_a_task_can_be_watched() -> None:
    kinds = [ClassifierHead(), BinaryHead(), MultilabelHead(), RegressionHead(ordinal=True), TokensHead(), SpanHead()]
    for head in (*kinds, MaskedHead()):
        # What the commonest answer alone would reach is no figure of the model; calibration is judged at the end.
        known = set(TASKS[head.type].titles) - {"majority_share", "expected_calibration_error", "brier_score"}
        assert set(head.watchable) == known
    assert "accuracy" not in RegressionHead().watchable
