"""A folder's manifest sees every change of its files, and of itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from zoo.data.manifest import MANIFEST, damage, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(random.Random(0).randbytes(3000))
    (tmp_path / "text.json").write_text('{"a": 1}', encoding="utf-8")
    write_manifest(tmp_path)
    return tmp_path


def test_what_is_as_it_was_written(folder: Path) -> None:
    (folder / "a note of somebody").touch()
    assert damage(folder) is None
    assert damage(folder, "weights") is None


@pytest.mark.parametrize("name", ["weights", "text.json", MANIFEST])
def test_every_bit_counts(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    for place in random.Random(1).sample(range(8 * len(whole)), min(8 * len(whole), 400)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        assert damage(folder) is not None, place


@pytest.mark.parametrize("name", ["weights", MANIFEST])
@pytest.mark.parametrize("length", [None, 0, 40, -1])
def test_a_file_that_is_gone_or_cut_is_named(folder: Path, name: str, length: int | None) -> None:
    path = folder / name
    raw = path.read_bytes()
    path.unlink()
    if length is not None:
        path.write_bytes(raw[:length])
    assert str(path) in (damage(folder) or "")


def test_one_file_alone(folder: Path) -> None:
    (folder / "weights").write_bytes(b"")
    assert damage(folder, "text.json") is None
    assert "weights has 0 bytes, and manifest.json says 3,000" in (damage(folder, "text.json", "weights") or "")
    assert "is not in manifest.json" in (damage(folder, "another") or "")
