"""Damaged files, kind by kind: caches, stamps, archives, configurations. Each ends in a documented code."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
from damaged import HUGGING_FACE, KERAS, model_card, open_model, preset, unreachable

from zoo.data.sources import Origin, cache, fetch, fetch_first, folder_of, locate
from zoo.data.sources.archives import extract
from zoo.data.sources.request import Request
from zoo.errors import EnvironmentFault, OutputError, RecipeError

pytestmark = pytest.mark.usefixtures("own_cache")


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


def flipped(whole: bytes, bit: int) -> bytes:
    raw = bytearray(whole)
    raw[bit // 8] ^= 1 << bit % 8
    return bytes(raw)


def test_a_flipped_bit_or_a_cut_byte_of_a_download(
    served: tuple[Origin, list[Request]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is seen, and the file named where it cannot be brought again."""
    origin, asked = served
    path = fetch(origin) / "a.csv"
    before = path.stat()
    for wrong in (*(flipped(b"right", bit) for bit in range(0, 40, 3)), b"righ"):
        path.write_bytes(wrong)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        monkeypatch.setattr(cache, "_hashed", {})  # as in another process
        with monkeypatch.context() as away:
            away.setitem(cache.SCHEMES, "https", unreachable)
            with pytest.raises(EnvironmentFault, match=r"a\.csv is damaged"):
                fetch(origin)
        count = len(asked)
        assert (fetch(origin) / "a.csv").read_bytes() == b"right"
        assert len(asked) == count + 1
        before = path.stat()


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
    assert preset(tmp_path / "sound", json.dumps(sound)).units == 2
    if isinstance(value, int) and value > 2**64:
        text = json.dumps(sound | {key: 0}).replace(f'"{key}": 0', f'"{key}": {value}')
    else:
        text = json.dumps(sound | {key: value})
    with pytest.raises((EnvironmentFault, RecipeError)) as caught:
        preset(tmp_path / "wrong", text)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("blueprint", "backbone", "num_layers"), 0),
        (("blueprint", "backbone", "num_heads"), 3),
        (("blueprint", "units"), 0),
        (("task", "names"), 5),
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
