"""Sound files, mutated with fixed seeds in this process: every end is a documented one. The full numbers are slow."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged import HUGGING_FACE, KERAS, NANO, SIZES, model_card, open_model, preset

from zoo.data.catalog import vocabulary_folder
from zoo.data.dataset import load_dataset
from zoo.data.sources import Origin, cache, fetch, locate
from zoo.data.sources.request import Request
from zoo.data.token_cache import encode_cached
from zoo.data.tokens import load_tokenizer
from zoo.errors import ZooError
from zoo.recipe import recipe_from
from zoo.recipe.types import Tokens

pytestmark = pytest.mark.usefixtures("own_cache")

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
        dataset = load_dataset(recipe)
        tokenizer.encode(dataset.train.texts, None, Tokens(max_length=16))
        "".join(dataset.task.names).encode()

    assert ends(count, "rows", once, {3})[3]


@many(300)
def test_mutated_token_caches(count: int) -> None:
    texts, tokenizer = [f"a film number {n}" for n in range(40)], load_tokenizer(NANO)
    fresh = tokenizer.encode(texts, None, Tokens())
    encode_cached(tokenizer, texts, None, Tokens())
    paths = sorted((cache.cache_folder() / "tokens").glob("*/*"))
    sounds, told = {path: path.read_bytes() for path in paths}, list[str]()
    for number in range(count):
        before, path = len(told), paths[number % len(paths)]
        path.write_bytes(mutated(sounds[path], random.Random(f"tokens/{number}")))
        found = encode_cached(tokenizer, texts, None, Tokens(), tell=told.append)
        for name in ("ids", "offsets", "second", "full"):
            np.testing.assert_array_equal(getattr(found, name), getattr(fresh, name), err_msg=f"{number} {name}")
        assert len(told) == before or path.read_bytes() == sounds[path], "made anew"
    print(f"tokens: {count} mutations, {len(told)} made anew, none read wrong")
    assert 0 < len(told) <= count


@many(100)
@pytest.mark.parametrize("layout", ["hugging_face", "keras"])
def test_mutated_configs(count: int, layout: str, tmp_path: Path) -> None:
    sound = {"hugging_face": HUGGING_FACE, "keras": KERAS}[layout]
    found = ends(count, f"config/{layout}", lambda draw: preset(tmp_path / "mine", changed(sound, draw)), {2, 4})
    assert found[4]


@many(100)
def test_mutated_stamps(count: int, served: tuple[Origin, list[Request]]) -> None:
    origin, _ = served
    path = fetch(origin) / "stamp.json"
    sound = json.loads(path.read_text())

    def once(draw: random.Random) -> None:
        path.write_text(changed(sound, draw), encoding="utf-8", errors="surrogatepass")
        locate(origin)
        assert (fetch(origin) / "a.csv").read_bytes() == b"right"

    assert ends(count, "stamps", once, {4})[4]


@many(100)
def test_mutated_models(count: int, tmp_path: Path) -> None:
    sound = model_card()
    assert ends(count, "model.json", lambda draw: open_model(tmp_path, changed(sound, draw)), {6})[6]


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

    assert ends(count, "vocabulary", once, {4})[4]
