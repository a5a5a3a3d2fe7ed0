"""Every card of the catalog, in the layout it records, along the whole way: check, fetch, vocabulary, configuration.

The files are made as keras-hub writes them (TestKerasPreset in on_backend builds real weights), with entries such as
real vocabularies have: "model" is one of RoBERTa's, and the letter of the reals one of the uncased BERT's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import recipes
from zoo import check, fetch
from zoo.data.backbones import locate_backbone, locate_vocabulary
from zoo.data.catalog import BackboneCard, backbone_card, backbone_names
from zoo.data.sources import address
from zoo.data.sources import cache as sources_cache
from zoo.data.sources.request import Brought, Request, Unreachable
from zoo.data.tokens import load_tokenizer
from zoo.models.presets import read_config
from zoo.recipe.types import Tokens

CLASSES = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta"}
HUBS = ("kaggle", "hf")
KERAS = [name for name in backbone_names() if backbone_card(name).layout == "keras"]
READ = [name for name in KERAS if backbone_card(name).tokenizer != "sentencepiece"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def saved(kind: str, config: Mapping[str, Any]) -> str:
    """An object as Keras serialises it."""
    dtype = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
    inside = {"name": kind.lower(), "trainable": True, "dtype": dtype, **config}
    return json.dumps(
        {"module": "keras_hub.src.models", "class_name": kind, "config": inside, "registered_name": f"keras_hub>{kind}"}
    )


@cache
def word_piece(size: int, uncased: bool) -> str:
    special = ["[PAD]", *(f"[unused{n}]" for n in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u211d", "##\u211d"]
    words = ["the", "model", "\u7535", "##s", *([] if uncased else ["The", "Model"])]
    rest = (f"{'w' if uncased or n % 3 else 'W'}ord{n}" for n in range(size))
    return "\n".join([*special, *words, *rest][:size]) + "\n"


@cache
def byte_pairs(size: int) -> str:
    special = ["<s>", "<pad>", "</s>", "<unk>", *"model", "mo", "mod", "mode", "model"]
    rest = (f"\u0120word{n}" for n in range(size))
    entries = [*[*special, *rest][: size - 1], "<mask>"]
    return json.dumps({entry: number for number, entry in enumerate(entries)})


def contents(card: BackboneCard, vocabulary_size: int) -> dict[str, str]:
    """The text of each file of a Keras preset."""
    sizes = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim")
    config = {name: getattr(card, name) for name in sizes}
    config |= {"dropout": 0.1, "max_sequence_length": card.max_positions}
    if card.num_segments:
        config["num_segments"] = card.num_segments
    lower = {"lowercase": card.uncased, "strip_accents": False, "vocabulary": None, "config_file": "tokenizer.json"}
    return {
        "config.json": saved(f"{CLASSES[card.family]}Backbone", config),
        "metadata.json": json.dumps({"keras_version": "3.0.0", "parameter_count": card.parameters}),
        "model.weights.h5": "",
        "tokenizer.json": saved(f"{CLASSES[card.family]}Tokenizer", lower if card.tokenizer == "wordpiece" else {}),
        "assets/tokenizer/vocabulary.txt": word_piece(vocabulary_size, card.uncased),
        "assets/tokenizer/vocabulary.json": byte_pairs(vocabulary_size),
        "assets/tokenizer/merges.txt": "m o\nmo d\nmod e\nmode l\n",
    }


def hubs(monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str], up: str) -> None:
    """Both hubs with these files, one of them up."""

    def bring(request: Request) -> Brought:
        if address(request.origin.uri).scheme != up:
            raise Unreachable("away")
        for name in request.missing:
            path = request.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name].encode())
        return Brought(revision="1")

    for scheme in HUBS:
        monkeypatch.setitem(sources_cache.SCHEMES, scheme, bring)


def asked(card: BackboneCard) -> list[str]:
    return [f"model.backbone={{family: {card.family}, preset: {card.name}}}"]


@pytest.mark.parametrize("up", HUBS)
@pytest.mark.parametrize("name", READ)
def test_a_keras_preset_of_the_catalog(name: str, up: str, monkeypatch: pytest.MonkeyPatch) -> None:
    card, path = backbone_card(name), recipes.path("quickstart")
    hubs(monkeypatch, contents(card, card.vocabulary_size), up)
    before = check.examine(path, profile="smoke", overrides=asked(card))
    assert (before.faults, len(before.missing)) == ([], 1)
    assert fetch.main(["quickstart", "--profile", "smoke", "--set", *asked(card)]) == 0
    after = check.examine(path, profile="smoke", overrides=asked(card))
    assert (after.faults, after.missing) == ([], [])
    assert not [text for topic, text in after.notes if topic == "warning" and "lower-case" in text]

    backbone = recipes.load("quickstart", profile="smoke", overrides=asked(card)).model.backbone
    found = locate_backbone(backbone)
    assert found is not None
    config = read_config(found).backbone
    for field in ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_positions"):
        assert getattr(config, field) == getattr(card, field), field
    assert (config.num_segments or 0) == card.num_segments
    assert config.activation == (card.activation or ("gelu_tanh" if card.family == "bert" else "gelu"))
    tokenizer = load_tokenizer(locate_vocabulary(backbone))
    assert tokenizer.vocabulary_size == card.vocabulary_size
    middle = tokenizer.pieces(tokenizer.encode(["model Model"], None, Tokens()).ids)[1:-1]
    if card.tokenizer == "bpe":
        assert middle[0] == "model"
    else:
        assert middle == ["model", "model" if card.uncased else "Model"]


@pytest.mark.parametrize("name", ["bert_tiny_en_uncased", "roberta_base_en"])
def test_what_the_run_would_refuse_the_check_refuses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    card = backbone_card(name)
    hubs(monkeypatch, contents(card, card.vocabulary_size + 1), "kaggle")
    assert fetch.main(["quickstart", "--profile", "smoke", "--set", *asked(card)]) == 0
    report = check.examine(recipes.path("quickstart"), profile="smoke", overrides=asked(card))
    assert report.exit_code == 4
    assert "they are not of the same preset" in str(report.faults[0])


@pytest.mark.parametrize("name", sorted(set(KERAS) - set(READ)))
def test_a_vocabulary_of_a_kind_that_is_not_read_is_refused_before_it_is_fetched(name: str) -> None:
    card = backbone_card(name)
    assert check.main(["quickstart", "--profile", "smoke", "--set", *asked(card)]) == 2
    assert fetch.main(["quickstart", "--profile", "smoke", "--set", *asked(card)]) == 2


@pytest.mark.parametrize("name", sorted(set(backbone_names()) - set(KERAS)))
def test_a_hugging_face_folder_of_the_catalog(name: str, real_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These have their real files: they are on the package index."""
    monkeypatch.setenv("ZOO_CACHE", str(real_cache))
    card = backbone_card(name)
    report = check.examine(recipes.path("quickstart"), profile="smoke", overrides=asked(card))
    assert (report.faults, report.missing) == ([], [])
    backbone = recipes.load("quickstart", profile="smoke", overrides=asked(card)).model.backbone
    found = locate_backbone(backbone)
    assert found is not None
    config = read_config(found).backbone
    assert (config.num_layers, config.hidden_dim, config.vocabulary_size) == (
        card.num_layers,
        card.hidden_dim,
        card.vocabulary_size,
    )
    tokenizer = load_tokenizer(locate_vocabulary(backbone))
    assert (tokenizer.vocabulary_size, tokenizer.note) == (card.vocabulary_size, None)
