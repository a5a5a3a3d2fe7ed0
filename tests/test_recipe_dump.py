"""A recipe to text and back: nothing is lost, and nothing is read as something else."""

import string
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import RecipeError
from zoo.recipe import Recipe, dump_recipe, load_recipe, recipe_from
from zoo.recipe.reading import resolved, validate
from zoo.recipe.schema import rows
from zoo.recipe.yaml12 import read_yaml, write_yaml

GOOD = """\
name: mine
data:
  dataset: imdb
model:
  backbone: {family: bert, preset: some_bert}
profiles:
  cpu:
    training.epochs: 1
"""


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_loads_back_to_an_equal_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD), profile="cpu")
    text = dump_recipe(recipe)
    assert load_recipe(write(tmp_path, text, "again.yaml")) == recipe
    assert "profiles" not in text
    assert dump_recipe(recipe) == text


def test_writes_defaults_out_and_keeps_a_chosen_null(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD), overrides=["training.optimizer.clip_norm=null"])
    text = dump_recipe(recipe)
    assert "batch_size: 32" in text
    assert "clip_norm: null" in text
    assert load_recipe(write(tmp_path, text, "again.yaml")) == recipe


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )
)
def test_yaml_round_trip(data: object) -> None:
    document = read_yaml(write_yaml(data), "t")
    assert document.faults == []
    assert document.data == data
    assert repr(document.data) == repr(data)


@settings(max_examples=100, deadline=None)
@given(
    name=st.text(string.ascii_letters + string.digits, min_size=1, max_size=64),
    source=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    names=st.lists(
        st.sampled_from(["no", "1e-5", "null", "~", "0o7", "é", "a b", "- x", "1_0", "#"]), min_size=2, unique=True
    ),
    rate=st.floats(min_value=1e-300, max_value=1e300),
    seed=st.integers(0, 2**31 - 1),
)
def test_recipe_round_trip(name: str, source: str, names: list[str], rate: float, seed: int) -> None:
    recipe = recipe_from(
        {
            "name": name,
            "seed": seed,
            "data": {"files": {"train": source, "text": ["a", "b"], "label_names": names}},
            "model": {"backbone": {"family": "bert", "preset": "x"}},
            "training": {"optimizer": {"learning_rate": rate}},
            "expected": {"source": source},
        }
    )
    again = Recipe.model_validate(read_yaml(dump_recipe(recipe), "t").data)
    assert again == recipe


_SYMBOLS = st.sampled_from(
    [
        *"{}[],|>%#?~\n\t\x85\u2028\ufeffé",
        "  ",
        ": ",
        "- ",
        "&a ",
        "*a",
        "!t ",
        '"',
        "'",
        "\\",
        "0x",
        ".nan",
        "name",
        "data",
    ]
)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(_SYMBOLS, min_size=1, max_size=6), at=st.integers(0, len(GOOD)))
def test_broken_text_ends_in_a_recipe_error(parts: list[str], at: int) -> None:
    faults: tuple[str, ...] = ()
    try:
        document = read_yaml(GOOD[:at] + "".join(parts) + GOOD[at:], "fuzz")
        recipe = validate(resolved(document, folder=Path("here"), profile="cpu", overrides=["seed=1"]))
    except RecipeError as error:
        faults = error.faults
    assert all(fault.startswith(("fuzz", "--set")) for fault in faults)
    assert faults or recipe.seed == 1


_KEYS = st.sampled_from(
    [row.key.replace("(", ".x(").split(".x(")[0] for row in rows()] + ["", ".", "a.b", "profiles.cpu"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "a", "train"]), inner),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(changes=st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_any_override_gives_a_recipe_or_a_recipe_error(changes: dict[str, Any]) -> None:
    base = recipe_from(read_yaml(GOOD, "t").data)
    try:
        outcome: Recipe | tuple[str, ...] = base.override(changes)
    except RecipeError as error:
        outcome = error.faults
    assert outcome
