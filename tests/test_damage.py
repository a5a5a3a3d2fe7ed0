"""Damaged files: rows, caches, stamps, configurations, vocabularies, archives. Each ends in a documented code.

The second half mutates sound files with fixed seeds, in this process; the numbers that the full run takes are slow.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import random
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.data.backbones import locate_backbone
from zoo.data.catalog import vocabulary_folder
from zoo.data.dataset import load_dataset
from zoo.data.sources import Origin, cache, fetch, fetch_first, folder_of, locate
from zoo.data.sources.archives import extract
from zoo.data.sources.request import Brought, Request, Unreachable
from zoo.data.tokens import encode_cached, load_tokenizer
from zoo.errors import EnvironmentFault, OutputError, RecipeError, ZooError
from zoo.model.backbone import DEFAULTS, BackboneConfig
from zoo.model.builder import Blueprint, plan
from zoo.model.saved import _CARD, ModelCard, load_card
from zoo.recipe import recipe_from
from zoo.recipe.types import ClassifierHead, Tokens

NANO = vocabulary_folder("nano_uncased")
SIZES = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
HUGGING_FACE: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "vocab_size": 30522,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "hidden_size": 8,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "classifier_dropout": None,
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "id2label": {"0": "negative", "1": "positive"},
    "problem_type": "single_label_classification",
}
KERAS: dict[str, Any] = {
    "class_name": "BertBackbone",
    "config": {**SIZES, "vocabulary_size": 30522, "max_sequence_length": 64, "num_segments": 2, "dropout": 0.1},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_hashed", {})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> tuple[Origin, list[Request]]:
    """A file that comes from a place that is always up, and what was asked of it."""
    asked: list[Request] = []

    def bring(request: Request) -> Brought:
        asked.append(request)
        (request.folder / "a.csv").write_bytes(b"right")
        return Brought()

    monkeypatch.setitem(cache.SCHEMES, "https", bring)
    return Origin(uri="https://example.invalid/a.csv", files={"a.csv": hashlib.sha256(b"right").hexdigest()}), asked


def unreachable(request: Request) -> Brought:
    raise Unreachable("away")


def checkpoint(folder: Path, config: str) -> Any:
    """A recipe's plan for a folder with this config.json; no weights are read."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config, encoding="utf-8", errors="surrogatepass")
    for name in ("model.safetensors", "model.weights.h5"):
        (folder / name).touch()
    backbone = {"family": "bert", "preset": str(folder)}
    recipe = recipe_from({"name": "x", "data": {"dataset": "smoke_reviews"}, "model": {"backbone": backbone}})
    recipe = recipe.override({"tokens.max_length": 16})
    found = locate_backbone(recipe.model.backbone)
    return plan(recipe, checkpoint=found, tokenizer=load_tokenizer(NANO), classes=2)


def model_card() -> dict[str, Any]:
    config = BackboneConfig(family="bert", vocabulary_size=512, max_positions=64, **SIZES, **DEFAULTS["bert"])
    blueprint = Blueprint(backbone=config, head=ClassifierHead(dropout=0.1), classes=2)
    card = ModelCard(blueprint=blueprint, tokens=Tokens(), label_names=("a", "b"), threshold=None)
    told: dict[str, Any] = json.loads(_CARD.dump_json(card))
    return told


def open_model(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    (folder / "tokenizer.json").write_text(load_tokenizer(NANO).to_json(), encoding="utf-8")
    load_card(folder)


# Kinds


def test_what_size_and_time_cannot_tell_is_seen_at_first_use(
    served: tuple[Origin, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, asked = served
    path = fetch(origin) / "a.csv"
    before = path.stat()
    path.write_bytes(b"wrong")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert locate(origin) is not None, "sizes and times say nothing"
    monkeypatch.setattr(cache, "_hashed", {})  # as in another process
    assert (fetch(origin) / "a.csv").read_bytes() == b"right"
    assert len(asked) == 2
    monkeypatch.setattr(cache, "_hashed", {})
    path.write_bytes(b"wrong")
    stamp = json.loads(path.with_name("stamp.json").read_text())
    os.utime(path, ns=(before.st_atime_ns, stamp["files"]["a.csv"]["mtime_ns"]))
    with monkeypatch.context() as away:
        away.setitem(cache.SCHEMES, "https", unreachable)
        with pytest.raises(EnvironmentFault, match=r"a\.csv is damaged"):
            fetch_first([origin])
    assert locate(origin) is None, "once seen, it is known"
    fetch(origin)
    monkeypatch.setattr(cache, "_hashed", {})
    hashed: list[Path] = []
    sha256_of = cache.sha256_of
    monkeypatch.setattr(cache, "sha256_of", lambda path: hashed.append(path) or sha256_of(path))
    for _ in range(3):
        fetch(origin)
    assert hashed == [path], "once in a process"


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"files": []}', '{"files": {"a.csv": {}}}', '{"complete": "yes"}', "[" * 100_000, "\udcff"],
    ids=lambda text: ascii(text[:20]),
)
def test_stamps_of_wrong_types(text: str, served: tuple[Origin, list[Request]]) -> None:
    folder_of(served[0]).mkdir(parents=True)
    (folder_of(served[0]) / "stamp.json").write_text(text, errors="surrogateescape")
    for look in (locate, fetch):
        with pytest.raises(EnvironmentFault, match=r"stamp\.json.*delete the folder"):
            look(served[0])


@pytest.mark.parametrize(
    "damage", [{"method": 99}, {"method": 12}, {"method": 14}, {"flag": 1}, {"at": 40}, {"at": 70}]
)
def test_corrupt_zips_are_removed(damage: dict[str, int], tmp_path: Path) -> None:
    """pip takes a wheel that lies there for the one that it was to bring."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", random.Random(0).randbytes(99))
    content = bytearray(made.getvalue())
    local, central = content.index(b"PK\x03\x04"), content.index(b"PK\x01\x02")
    for name, offset in {"flag": 0, "method": 2}.items():
        if name in damage:
            content[local + 6 + offset] = content[central + 8 + offset] = damage[name]
    if "at" in damage:
        content[damage["at"]] ^= 0xFF
    path = tmp_path / "a-1-py3-none-any.whl"
    path.write_bytes(content)
    with pytest.raises(EnvironmentFault, match="fetch it again"):
        extract(path, "", lambda name: True, tmp_path / "out")
    assert not path.exists()


@pytest.mark.parametrize(
    ("sound", "key", "value"),
    [
        *((HUGGING_FACE, "num_hidden_layers", value) for value in (0, -1, "1", 1.5, True, None, [1], 10**400)),
        *((HUGGING_FACE, key, "x") for key in ("hidden_dropout_prob", "layer_norm_eps", "id2label", "architectures")),
        *((HUGGING_FACE, key, []) for key in ("hidden_act", "max_position_embeddings", "problem_type", "vocab_size")),
        (HUGGING_FACE, "num_attention_heads", 3),
        (KERAS, "config", []),
        (KERAS, "class_name", ["BertBackbone"]),
    ],
    ids=lambda value: str(value)[:12],
)
def test_configs_of_wrong_types(sound: dict[str, Any], key: str, value: Any, tmp_path: Path) -> None:
    assert checkpoint(tmp_path / "sound", json.dumps(sound)).classes == 2
    if isinstance(value, int) and value > 2**64:
        text = json.dumps(sound | {key: 0}).replace(f'"{key}": 0', f'"{key}": {value}')
    else:
        text = json.dumps(sound | {key: value})
    with pytest.raises((EnvironmentFault, RecipeError)) as caught:
        checkpoint(tmp_path / "wrong", text)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("blueprint", "backbone", "num_layers"), 0),
        (("blueprint", "backbone", "num_heads"), 3),
        (("blueprint", "classes"), 0),
        (("label_names",), 5),
        (("tokens",), []),
        ((), []),
    ],
)
def test_models_of_wrong_types(place: tuple[str, ...], value: Any, tmp_path: Path) -> None:
    card: Any = {"": model_card()}
    open_model(tmp_path, json.dumps(card[""]))
    inside = card
    for key in ("", *place)[:-1]:
        inside = inside[key]
    inside[("", *place)[-1]] = value
    with pytest.raises(OutputError, match=r"model\.json is damaged"):
        open_model(tmp_path, json.dumps(card[""]))
    with pytest.raises(OutputError, match=r"model\.json is damaged"):
        open_model(tmp_path, "[" * 100_000)


# Mutations

FEW = 30
BYTES = (
    b"\0",
    b'"',
    b'""',
    b"\n",
    b"\r",
    b",",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"9" * 5000,
    b"-100",
    b"nan",
)
VALUES = (
    *(None, True, 0, -1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "\ud800", "9" * 500, "gelu", "roberta", [], [1], {}, {"x": 1}, [[[[[[[[]]]]]]]]),
)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """The bytes with one to four places changed."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        first = draw.randrange(len(data) + 1)
        last = min(len(data), first + draw.choice((1, 2, 8, 64, 4096)))
        match draw.randrange(6):
            case 0 if data:
                data[first % len(data)] ^= 1 << draw.randrange(8)
            case 1:
                del data[first:last]
            case 2:
                data[first:first] = draw.choice(BYTES)
            case 3:
                data[first:first] = data[first:last]
            case 4:
                data[first:last] = draw.randbytes(last - first)
            case _:
                del data[draw.randrange(len(data) + 1) :]
    return bytes(data)


def changed(value: Any, draw: random.Random) -> str:
    """The JSON of a value with one to three of its parts changed, or that text with bytes changed."""
    value = {"": copy.deepcopy(value)}
    for _ in range(draw.randint(1, 3)):
        places: list[tuple[Any, Any]] = [(value, "")]
        for inside, key in places:
            part = inside[key]
            keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
            places += [(part, inner) for inner in keys]
        inside, key = draw.choice(places[1:] or places)
        if draw.random() < 0.2 and isinstance(inside, dict) and inside is not value:
            del inside[key]
        else:
            inside[key] = copy.deepcopy(draw.choice(VALUES))
    text = json.dumps(value[""])
    if draw.random() < 0.2:
        text = mutated(text.encode(), draw).decode(errors="replace")
    return text


def ends(count: int, seed: str, once: Callable[[random.Random], None], codes: set[int]) -> Counter[int]:
    """The exit codes of so many calls; anything but these codes, or an end without a ZooError, fails."""
    found: Counter[int] = Counter()
    for number in range(count):
        code, told = 0, "none"
        try:
            once(random.Random(f"{seed}/{number}"))
        except ZooError as error:
            code, told = error.exit_code, str(error)
        except Exception as error:
            raise AssertionError(f"{seed}/{number} ended in {type(error).__name__}: {error}") from error
        assert code in codes | {0}, (seed, number, told)
        assert told.strip()
        found[code] += 1
    print(f"{seed}: {count} mutations, exit codes {dict(sorted(found.items()))}")
    assert len(found) > 1, "nothing was refused, or everything: the mutations are blind"
    return found


def many(count: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("count", [FEW, pytest.param(count, marks=pytest.mark.slow)])


@many(1000)
def test_mutated_rows(count: int, tmp_path: Path) -> None:
    rows = [f'"a {word} film, ""number"" {n}",{word}' for n in range(20) for word in ("good", "bad")]
    sound, path = "\n".join(["text,label", *rows, "café,good"]).encode(), tmp_path / "rows.csv"
    data = {"files": {"train": str(path)}}
    backbone = {"family": "bert", **SIZES, "vocabulary": "nano_uncased"}
    recipe = recipe_from({"name": "x", "data": data, "model": {"backbone": backbone}}).override(
        {"training.batch_size": 4}
    )
    tokenizer = load_tokenizer(NANO)

    def once(draw: random.Random) -> None:
        path.write_bytes(mutated(sound, draw))
        dataset, _ = load_dataset(recipe)
        tokenizer.encode(dataset.train.texts, None, Tokens(max_length=16))
        "".join(dataset.label_names).encode()

    ends(count, "rows", once, {3})


@many(300)
def test_mutated_token_caches(count: int) -> None:
    texts, tokenizer = [f"a film number {n}" for n in range(40)], load_tokenizer(NANO)
    fresh = encode_cached(tokenizer, texts, None, Tokens())
    (path,) = (cache.cache_folder() / "tokens").iterdir()
    sound, told = path.read_bytes(), list[str]()
    for number in range(count):
        before = len(told)
        path.write_bytes(mutated(sound, random.Random(f"tokens/{number}")))
        found = encode_cached(tokenizer, texts, None, Tokens(), tell=told.append)
        for name in ("ids", "offsets", "second", "full"):
            np.testing.assert_array_equal(getattr(found, name), getattr(fresh, name), err_msg=f"{number} {name}")
        assert len(told) == before or path.read_bytes() == sound, "made anew"
    print(f"tokens: {count} mutations, {len(told)} made anew, none read wrong")
    assert 0 < len(told) <= count


@many(100)
@pytest.mark.parametrize("layout", ["hugging_face", "keras"])
def test_mutated_configs(count: int, layout: str, tmp_path: Path) -> None:
    sound = {"hugging_face": HUGGING_FACE, "keras": KERAS}[layout]
    ends(count, f"config/{layout}", lambda draw: checkpoint(tmp_path / "mine", changed(sound, draw)), {2, 4})


@many(100)
def test_mutated_stamps(count: int, served: tuple[Origin, list[Request]]) -> None:
    origin, _ = served
    path = fetch(origin) / "stamp.json"
    sound = json.loads(path.read_text())

    def once(draw: random.Random) -> None:
        path.write_text(changed(sound, draw), encoding="utf-8", errors="surrogatepass")
        locate(origin)
        assert (fetch(origin) / "a.csv").read_bytes() == b"right"

    ends(count, "stamps", once, {4})


@many(100)
def test_mutated_models(count: int, tmp_path: Path) -> None:
    sound = model_card()
    ends(count, "model.json", lambda draw: open_model(tmp_path, changed(sound, draw)), {6})


@many(100)
def test_mutated_vocabularies(count: int, tmp_path: Path) -> None:
    files = {
        "tokenizer.json": load_tokenizer(NANO).to_json().encode(),
        "vocab.txt": (NANO / "vocab.txt").read_bytes(),
        "vocab.json": (vocabulary_folder("nano_bpe") / "vocab.json").read_bytes(),
        "tokenizer_config.json": (NANO / "tokenizer_config.json").read_bytes(),
    }
    merges = (vocabulary_folder("nano_bpe") / "merges.txt").read_bytes()

    def once(draw: random.Random) -> None:
        chosen = draw.choice(list(files))
        folder = tmp_path / str(draw.random())
        folder.mkdir()
        (folder / "merges.txt").write_bytes(mutated(merges, draw) if chosen == "vocab.json" else merges)
        if chosen == "tokenizer_config.json":
            (folder / "vocab.txt").write_bytes(files["vocab.txt"])
        (folder / chosen).write_bytes(mutated(files[chosen], draw))
        load_tokenizer(folder).encode(["a film", "电影"], None, Tokens())

    ends(count, "vocabulary", once, {4})
