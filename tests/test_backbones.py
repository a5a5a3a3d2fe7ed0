"""Backbones: a name, an address or a folder to a preset; folders that are none are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from damaged import model_card, open_model

from zoo.data import backbones
from zoo.data.against_catalog import dimensions
from zoo.data.backbones import (
    Vocabulary,
    bring,
    fetch_backbone,
    find_vocabulary,
    locate_backbone,
    locate_vocabulary,
    missing,
    ready_profiles,
)
from zoo.data.catalog import backbone_card, vocabulary_folder
from zoo.data.sources import Origin, cache
from zoo.data.sources.request import Brought, Request
from zoo.data.tokens import load_tokenizer
from zoo.errors import EnvironmentFault, RecipeError
from zoo.recipe import Recipe, recipe_from
from zoo.recipe.backbone_group import Backbone

HF = {"config.json": {"model_type": "bert"}, "model.safetensors": None, "vocab.txt": None}
KERAS = {
    "config.json": {"class_name": "RobertaBackbone", "config": {}},
    "model.weights.h5": None,
    "assets/tokenizer/vocabulary.json": None,
}


def folder_with(folder: Path, files: dict[str, Any]) -> Path:
    """A folder with these files; None is an empty one, anything else JSON."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if content is None else json.dumps(content))
    return folder


def preset(where: object, family: str = "bert") -> Backbone:
    return Backbone.model_validate({"family": family, "preset": str(where)})


def fresh(vocabulary: object) -> Backbone:
    sizes = {"num_layers": 1, "num_heads": 1, "hidden_dim": 8, "intermediate_dim": 8}
    return Backbone.model_validate({"family": "bert", **sizes, "vocabulary": str(vocabulary)})


def recipe(backbone: dict[str, Any], **data: Any) -> Recipe:
    return recipe_from({"name": "x", "data": data or {"dataset": "smoke_reviews"}, "model": {"backbone": backbone}})


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("files", "layout", "family"), [(HF, "hf", "bert"), (KERAS, "keras", "roberta")])
def test_local_folders(tmp_path: Path, files: dict[str, Any], layout: str, family: str) -> None:
    folder = folder_with(tmp_path / "mine", files)
    found = locate_backbone(preset(folder, family))
    assert found is not None
    assert found == fetch_backbone(preset(folder, family))
    assert (found.path, found.layout, found.family, found.name) == (folder, layout, family, "mine")
    assert locate_vocabulary(preset(folder, family)) == folder


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"has no finished model, expected one: go on .* --resume"):
        locate_backbone(preset(folder_with(tmp_path / "run", {"run.json": {"status": "running"}})))
    open_model(tmp_path / "run" / "model", json.dumps(model_card()))
    found = locate_backbone(preset(tmp_path / "run"))
    assert found is not None
    assert (found.path, found.layout, found.name) == (tmp_path / "run" / "model", "zoo", "run")
    assert find_vocabulary(str(tmp_path / "run")) == Vocabulary(path=found.path, family="bert")
    assert load_tokenizer(locate_vocabulary(preset(tmp_path / "run"))).vocabulary_size == 459
    size = dimensions(preset(tmp_path / "run"))
    assert size is not None
    assert (size.num_layers, size.hidden_dim) == (1, 8)
    with pytest.raises(RecipeError, match="holds a bert, got roberta; set family: bert"):
        locate_backbone(preset(tmp_path / "run", "roberta"))


def test_shards_have_to_be_all_there(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files = {"config.json": HF["config.json"], "model.safetensors.index.json": index, "model-1.safetensors": None}
    folder = folder_with(tmp_path / "shards", files)
    with pytest.raises(EnvironmentFault, match=r"lacks model-2\.safetensors"):
        locate_backbone(preset(folder))
    folder_with(folder, {"model-2.safetensors": None})
    assert locate_backbone(preset(folder)) is not None
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(EnvironmentFault, match="has no weight_map"):
        locate_backbone(preset(folder))


@pytest.mark.parametrize(
    ("files", "error", "why"),
    [
        ({"vocab.txt": None}, EnvironmentFault, "no config.json"),
        ({"config.json": None}, EnvironmentFault, "cannot be read"),
        ({"config.json": [1]}, EnvironmentFault, "got list, expected an object"),
        ({"config.json": {"model_type": "bert"}}, EnvironmentFault, "no weights, expected model.safetensors"),
        ({"config.json": {}, "pytorch_model.bin": None}, EnvironmentFault, "pickled, which can run code"),
        (
            {**HF, "config.json": {"model_type": "roberta"}},
            RecipeError,
            "holds a roberta, got bert; set family: roberta",
        ),
        (
            {**HF, "config.json": {"model_type": "gpt2"}},
            RecipeError,
            "holds a gpt2, expected bert, distilbert or roberta",
        ),
        (KERAS, RecipeError, "holds a roberta, got bert"),
    ],
)
def test_folders_that_are_no_such_preset(tmp_path: Path, files: dict[str, Any], error: type, why: str) -> None:
    with pytest.raises(error, match=why):
        locate_backbone(preset(folder_with(tmp_path / "mine", files)))


@pytest.mark.parametrize(
    ("backbone", "why"),
    [
        (preset("bert_base_en_uncase"), "did you mean bert_base_en_uncased"),
        (preset("./no/such/folder"), "there is no folder"),
        (preset("ftp://host/x"), "unknown scheme 'ftp'"),
        (preset("roberta_base_en"), "roberta_base_en is a roberta, got bert; set family: roberta"),
        (preset("multilingual_e5_small"), "SentencePiece vocabulary, which is not read yet"),
        (fresh("nano_uncased"), "got none, expected one"),
    ],
)
def test_presets_that_cannot_be_meant(backbone: Backbone, why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        locate_backbone(backbone)


def test_vocabularies_of_fresh_backbones(tmp_path: Path) -> None:
    assert locate_vocabulary(fresh("nano_bpe")) == vocabulary_folder("nano_bpe")
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    assert locate_vocabulary(fresh(tmp_path / "vocab.txt")) == tmp_path / "vocab.txt"
    assert locate_vocabulary(fresh(tmp_path)) == tmp_path
    for backbone in (fresh("bert_base_en_uncased"), preset("bert_base_en_uncased")):
        with pytest.raises(EnvironmentFault, match=r"bert_base_en_uncased is not on this machine.*zoo\.fetch"):
            locate_vocabulary(backbone)
    with pytest.raises(RecipeError, match="did you mean nano_uncased"):
        locate_vocabulary(fresh("nano_uncase"))
    with pytest.raises(RecipeError, match="there is no file or folder"):
        locate_vocabulary(fresh("./vocab.txt"))


def test_a_vocabulary_of_a_catalog_backbone_is_fetched_without_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[frozenset[str]] = []

    def stand_in(request: Request) -> Brought:
        asked.append(request.missing)
        folder_with(request.folder, dict.fromkeys(request.missing))
        return Brought()

    monkeypatch.setitem(cache.SCHEMES, "kaggle", stand_in)
    asking = recipe(fresh("bert_base_en_uncased").model_dump(exclude_none=True))
    (need,) = missing(asking)
    assert "the vocabulary of bert_base_en_uncased is not on this machine: kaggle://" in str(need)
    folders = bring(asking)
    assert asked == [{"tokenizer.json", "assets/tokenizer/vocabulary.txt"}]
    assert missing(asking) == []
    assert locate_vocabulary(asking.model.backbone) == folders[1] == need.cache_path


def test_a_repository_without_a_card_is_taken_by_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def stand_in(request: Request) -> Brought:
        names = [*HF, "pytorch_model.bin", "onnx/model.safetensors", "README.md"]
        folder_with(request.folder, {name: HF.get(name) for name in names if request.wants(name)})
        return Brought(revision="1" * 40)

    monkeypatch.setitem(cache.SCHEMES, "hf", stand_in)
    asking = recipe({"family": "bert", "preset": "hf://org/model@main"})
    assert [need.uri for need in missing(asking)] == ["hf://org/model@main"]
    bring(asking)
    found = locate_backbone(asking.model.backbone)
    assert found is not None
    assert found.layout == "hf"
    assert {path.name for path in found.path.iterdir()} == {*HF, "stamp.json"}


def test_missing_and_bring_name_all_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    import recipes
    from zoo.data.sources.request import Unreachable

    def unreachable(request: Request) -> Brought:
        raise Unreachable(f"{request.origin.uri} cannot be reached")

    for scheme in ("hf", "kaggle", "pypi"):
        monkeypatch.setitem(cache.SCHEMES, scheme, unreachable)
    asking = recipes.load("imdb_bert")
    assert [need.what for need in missing(asking)] == ["the data set imdb", "the backbone bert_base_en_uncased"]
    assert ready_profiles(asking) == (["smoke"], ["cpu", "cpu_full"])
    with pytest.raises(EnvironmentFault) as caught:
        bring(asking)
    message = str(caught.value)
    assert len(caught.value.faults) == 4
    assert "with --profile smoke; where the package index can be reached, with --profile cpu or" in message
    with pytest.raises(EnvironmentFault) as caught:
        bring(asking.override(asking.profiles["cpu"]))
    assert "with --profile smoke" in str(caught.value)
    assert "--profile cpu" not in str(caught.value), "the index is away"
    assert all(str(need.cache_path) in message for need in missing(asking))
    assert "zoo.fetch" in message


def test_real_minilm_in_both_families(real_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(real_cache))
    for name, family in {"minilm_l6_en_uncased": "bert", "minilm_l6_distilbert": "distilbert"}.items():
        found = locate_backbone(preset(name, family))
        assert found is not None
        assert (found.layout, found.family, found.name) == ("hf", family, name)
        config = json.loads((found.path / "config.json").read_text())
        card = backbone_card(name)
        assert config["model_type"] == "bert" == (card.convert_from or card.family)
        assert (config["num_hidden_layers"], config["num_attention_heads"]) == (card.num_layers, card.num_heads)
        assert (config["hidden_size"], config["intermediate_size"]) == (card.hidden_dim, card.intermediate_dim)
        assert (config["vocab_size"], config["max_position_embeddings"]) == (card.vocabulary_size, card.max_positions)


def test_what_is_taken_from_an_unknown_repository_holds_no_pickle() -> None:
    origin = Origin(uri="hf://a/b", patterns=backbones.CHECKPOINT_FILES)
    assert origin.wants("model-00001-of-00002.safetensors")
    assert origin.wants("assets/tokenizer/merges.txt")
    assert not any(origin.wants(name) for name in ("pytorch_model.bin", "training_args.bin", "modeling.py", "x.pkl"))
