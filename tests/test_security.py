"""What comes from outside is never trusted: hostile models, texts and addresses, where no room's own tests have them.

docs/security.md says what is promised, and by which tests each promise is held.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from damaged import HUGGING_FACE, NANO, model_card, open_model
from damaged import preset as planned
from markdown_it import MarkdownIt

from tools import audit_dependencies
from zoo.data import objects
from zoo.data.backbones import locate_backbone
from zoo.data.manifest import MANIFEST
from zoo.data.model_files import weight_files
from zoo.data.sources.request import Unreachable
from zoo.data.streams import Part
from zoo.data.tokens import Tokenizer, load_tokenizer
from zoo.data.writing import no_link
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.models import hdf5, weights
from zoo.models.backbone import DEFAULTS, BackboneConfig
from zoo.models.blueprint import load_card
from zoo.recipe import recipe_from
from zoo.recipe.backbone_group import Backbone
from zoo.recipe.showing import as_cell
from zoo.report import pages
from zoo.runs.answers import to_stream

LOUD = "\x1b[31m\u202ered\x07"
"""Text that colours a terminal, turns the line, and rings."""


def preset(where: object) -> Backbone:
    return Backbone.model_validate({"family": "bert", "preset": str(where)})


def tensors(header: Mapping[str, Any], content: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def tensor(kind: str, shape: list[int], end: int) -> dict[str, Any]:
    return {"a": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}


class TestWeights:
    """Safetensors and HDF5 that say other than they hold; tests/on_backend/checks_hostile.py has what Keras reads."""

    @pytest.mark.parametrize(
        "content",
        [
            struct.pack("<Q", 2**63) + b"{}",
            struct.pack("<Q", 99_999_999) + b"{}",
            tensors(tensor("F32", [0, 2**62], 0)),
            tensors(tensor("F32", [2**62, 4], 0)),
            tensors(tensor("F32", [1] * 100, 4), bytes(4)),
            tensors(tensor("F32", [2], 2**40), bytes(8)),
            tensors(tensor("F8_E4M3", [2], 2), bytes(2)),
            b"\x80\x04.",  # a pickle
        ],
    )
    def test_a_header_that_lies(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(EnvironmentFault, match="cannot be read as safetensors"):
            weights.read_safetensors(tmp_path / "model.safetensors")

    def test_a_model_that_is_more_than_its_file(self, tmp_path: Path) -> None:
        """It is refused before it is built: embeddings alone would be 16 TiB."""
        sizes = {"num_layers": 1, "num_heads": 1, "hidden_dim": 2**16, "intermediate_dim": 1, "max_positions": 1}
        config = BackboneConfig(family="bert", vocabulary_size=2**26, **sizes, **DEFAULTS["bert"])
        path = tmp_path / "model.safetensors"
        path.write_bytes(bytes(1000))
        with pytest.raises(EnvironmentFault, match=r"safetensors: 1,000 bytes, expected 4,41.* weights or more"):
            weights.refuse_bloated(config, [path])
        path.unlink()
        with pytest.raises(EnvironmentFault, match=r"safetensors: 0 bytes, expected"):
            weights.refuse_bloated(config, [path])

    @pytest.mark.parametrize("extra", ["group", "names", "text", "references"])
    def test_hdf5_with_more_than_numbers(self, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hdf5, "MOST", 50)
        path = tmp_path / "model.weights.h5"
        with h5py.File(path, "w") as file:
            file["layers/dense/vars/0"] = np.zeros((3, 2), np.float32)
            if extra == "group":
                file["layers/dense/again"] = file["layers"]  # it holds itself, and so has no end
            elif extra == "names":
                file["type"] = np.dtype("f4")
            else:
                kind = h5py.string_dtype() if extra == "text" else h5py.ref_dtype
                file.create_dataset("other", (1,), kind)
        with pytest.raises(EnvironmentFault, match=r"more than 50 groups|is no array|holds object"):
            hdf5.refuse_unsound(path, parameters=6)


class TestModelFolders:
    """Folders in Hugging Face's layout, and those of runs."""

    @pytest.mark.parametrize("whole", [True, False])
    @pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "sub/x.safetensors", "x.bin", "a" * 300])
    def test_an_index_that_names_files_elsewhere(self, name: str, whole: bool, tmp_path: Path) -> None:
        """Beside model.safetensors no index is read, as transformers has it."""
        folder = tmp_path / "preset"
        folder.mkdir()
        (tmp_path / "outside.safetensors").touch()
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name, "b": [name]}}))
        if whole:
            (folder / "model.safetensors").touch()
            assert weight_files(folder) == [folder / "model.safetensors"]
        else:
            with pytest.raises(EnvironmentFault, match=r"names|lacks"):
                weight_files(folder)

    @pytest.mark.parametrize(
        "name", ["config.json", "vocab.txt", "model.safetensors", "assets/tokenizer/vocabulary.txt"]
    )
    def test_a_link_out_of_the_folder(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n")
        folder = tmp_path / "snapshots" / "commit"
        (folder / name).parent.mkdir(parents=True)
        for file in ("config.json", "model.safetensors", "vocab.txt"):
            (folder / file).write_text('{"model_type": "bert"}')
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(tmp_path / "secret")
        with pytest.raises(EnvironmentFault, match=r"a link to .*secret, expected a file in its folder"):
            locate_backbone(preset(folder))
        if "vocab" in name:
            with pytest.raises(EnvironmentFault, match="a link to"):
                load_tokenizer(folder)
        blob = tmp_path / "blobs" / "0123"
        blob.parent.mkdir()
        blob.write_text('{"model_type": "bert"}')
        (folder / name).unlink()
        (folder / name).symlink_to("../" * (2 + name.count("/")) + "blobs/0123")
        assert locate_backbone(preset(folder)) is not None  # as the Hub's own cache lies

    def test_code_that_a_config_names_is_not_run(self, tmp_path: Path) -> None:
        told = json.dumps(HUGGING_FACE | {"auto_map": {"AutoModel": "evil.EvilModel"}})
        (tmp_path / "evil.py").write_text("raise SystemExit")
        with pytest.raises(EnvironmentFault, match=r"names code of its own \(auto_map\), which is never run"):
            planned(tmp_path, told)

    def test_a_run_that_leads_elsewhere(self, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        open_model(folder, json.dumps(model_card()))
        entry = {"size": 1, "sha256": "0" * 64}
        (folder / MANIFEST).write_text(json.dumps({"../../secret": entry}))
        with pytest.raises(OutputError, match="is no manifest"):
            load_card(folder)
        (folder / MANIFEST).unlink()
        (folder / "weights.safetensors").symlink_to("/etc/passwd")
        with pytest.raises(OutputError, match="a link to elsewhere"):
            load_card(folder)

    def test_nothing_is_added_to_what_a_link_leads_to(self, tmp_path: Path) -> None:
        (tmp_path / "log.txt").symlink_to(tmp_path / "profile")
        with pytest.raises(OSError, match="symbolic links"), open(tmp_path / "log.txt", "a", opener=no_link):
            pass
        assert not (tmp_path / "profile").exists()


class TestTokenizers:
    """tokenizer.json, of which the Rust library reads anything."""

    @pytest.mark.parametrize(
        ("place", "part"),
        [
            (
                "pre_tokenizer",
                {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False},
            ),
            ("normalizer", {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}),
            ("normalizer", {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "a" * 1000}]}),
            ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            ("normalizer", "Replace"),
            ("model", {"type": "Unigram", "unk_id": None, "vocab": []}),
            ("model", {"type": "BPE", "vocab": {"a": 0, "[UNK]": 1}, "merges": [["a", "a"]]}),
            ("model", {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}),
            ("model", None),
        ],
    )
    def test_parts_that_these_families_have_not(self, place: str, part: Any, tmp_path: Path) -> None:
        described = json.loads(load_tokenizer(NANO).to_json())
        described[place] = part
        with pytest.raises(ValueError, match=r"its (model|normalizer|pre_tokenizer|merge)"):
            Tokenizer.from_json(json.dumps(described))
        if isinstance(described["model"], dict):
            (tmp_path / "tokenizer.json").write_text(json.dumps(described))
            with pytest.raises(EnvironmentFault, match="not a vocabulary"):
                load_tokenizer(tmp_path)

    def test_absurd_sizes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        described = json.loads(load_tokenizer(NANO).to_json())
        padding = {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None}
        described["padding"] = {**padding, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
        assert len(Tokenizer.from_json(json.dumps(described)).rust.encode("a").ids) < 10
        described["model"]["unk_token"] = "none such"
        with pytest.raises(Exception, match="Missing"):
            Tokenizer.from_json(json.dumps(described))
        path = tmp_path / "tokenizer.json"
        with path.open("wb") as stream:
            os.truncate(stream.fileno(), objects.MOST_BYTES + 1)
        with pytest.raises(EnvironmentFault, match=r"has 67,108,865 bytes, expected at most"):
            load_tokenizer(tmp_path)
        path.rename(tmp_path / "vocab.txt")
        with pytest.raises(EnvironmentFault, match=r"has 67,108,865 bytes, expected at most"):
            load_tokenizer(tmp_path)


class TestTexts:
    """Text of data is text wherever it is shown."""

    @pytest.mark.parametrize(
        ("text", "cell"),
        [
            ('=HYPERLINK("http://x")', None),
            ("+1+cmd|' /C calc'!A0", None),
            ("-2+3", None),
            ("@SUM(1)", None),
            ("\t=1", None),
            ("\n=1", None),
            ("\uff1d1", None),
            ("-", None),
            ("-inf", None),
            ("a film = good", "a film = good"),
            ("-5.25", "-5.25"),
            ("+3", "+3"),
            ("-1e-3", "-1e-3"),
            ("", ""),
        ],
    )
    def test_no_cell_is_a_formula(self, text: str, cell: str | None) -> None:
        assert as_cell(text) == (f"'{text}" if cell is None else cell)

    def test_the_predictions_of_a_file_neither(self) -> None:
        class Blank:
            def cells(self) -> list[tuple[str, Any]]:
                return [("label", "=1+1"), ("score", -0.5)]

            def fields(self) -> dict[str, Any]:
                return dict(self.cells())

        class Screen(io.StringIO):
            def isatty(self) -> bool:
                return True

        blank: Any = Blank()
        kept: dict[str, list[Any]] = {"@note": ["=cmd()", "\x1b[2Jgone\n"], "delta": [-3, 4]}
        part = Part(texts=["a", "b"], pairs=None, given=["a", "b"], kept=kept, places=["1", "2"])
        for stream, second in ((io.StringIO(), "\x1b[2Jgone\n"), (Screen(), r"\x1b[2Jgone\n")):
            to_stream("csv", stream, ["@note", "delta"], blank).write(part, [blank, blank])
            assert list(csv.reader(io.StringIO(stream.getvalue()))) == [
                ["'@note", "delta", "label", "score"],
                ["'=cmd()", "-3", "'=1+1", "-0.500000"],
                [second, "4", "'=1+1", "-0.500000"],
            ]

    def test_markdown(self) -> None:
        hostile = [
            "<script>alert(1)</script>",
            "[a](javascript:alert(1)) ![b](https://evil.example/x.png)",
            "https://evil.example and www.evil.example",
            "# title\n---\n* list | cell `code` ~~gone~~ **bold** $x$ &lt;b&gt;",
            LOUD,
        ]
        for text in hostile:
            shown = MarkdownIt("gfm-like", {"linkify": False}).render(f"- a {pages.plain(text)} b")
            assert set(re.findall(r"<(\w+)", shown)) == {"ul", "li"}, shown
            assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", shown)
        assert "://" not in pages.plain(hostile[2])

    def test_html(self) -> None:
        """Escaped, and without characters that turn a line or are not seen; values that are HTML stay that."""
        shown = (
            pages._house(escape=True)
            .from_string("<b>{{ text }}</b>{{ made | base64 }}")
            .render(text=f"<i>{LOUD}", made=b"\xff\xfe")
        )
        assert shown == r"<b>&lt;i&gt;\x1b[31m\u202ered\x07</b>//4="


PACKAGE = {"name": "keras", "version": "3.12.0", "vulns": []}
ADVISORY = {"id": "GHSA-4f3f", "aliases": ["CVE-2026-1462"], "fix_versions": ["3.13.2"], "description": "..."}


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        ([PACKAGE], 0, "0 advisories, 1 of 1 packages asked about"),
        ([{**PACKAGE, "vulns": [ADVISORY]}], 1, "keras 3.12.0: GHSA-4f3f, CVE-2026-1462; mended in 3.13.2"),
        ([PACKAGE, {"name": "jax", "skip_reason": "not found"}], 4, "of 1 packages nothing could be asked (jax)"),
        ([], 4, "of 0 packages nothing could be asked"),
        (None, 4, "no advisories could be asked for (ConnectionError: no route)"),
    ],
)
def test_an_audit_that_asked_nobody_is_none(
    packages: Any, code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """pip-audit itself ends in 0 where the index knows no package, and in 1 where it cannot be reached."""
    tool = tmp_path / "pip-audit"
    answer = (
        "echo 'ConnectionError: no route' >&2"
        if packages is None
        else f"echo '{json.dumps({'dependencies': packages})}'"
    )
    tool.write_text(f"#!/bin/sh\n{answer}\nexit 1\n")
    tool.chmod(0o755)
    assert audit_dependencies.main(["--tool", str(tool)]) == code
    found = capsys.readouterr()
    assert told in " ".join((found.out + found.err).split())
    assert audit_dependencies.main(["--tool", str(tmp_path / "none")]) == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.backbone.preset", "https://me:hunter2@host/org/x"),
        ("model.backbone.preset", "gopher://host/hf_hunter2hunter2"),
        ("model.backbone.preset", "hf://org/name?token=hunter2"),
        ("data.files.train", "https://me:hunter2@host/train.csv"),
        ("data.files.label_names", ["a", "ghp_hunter2hunter2"]),
    ],
)
def test_a_secret_in_a_value_is_neither_told_nor_written_down(key: str, value: Any) -> None:
    """Keys that are named like one, and values where something else belongs: tests/test_recipe_reading.py."""
    data = {"files": {"train": "train.csv"}}
    recipe = {"name": "x", "data": data, "model": {"backbone": {"family": "bert", "preset": "bert_base_en_uncased"}}}
    with pytest.raises(RecipeError) as refused:
        locate_backbone(recipe_from(recipe, overrides={key: value}).model.backbone)
    assert "hunter2" not in str(refused.value)
    assert f"{key.removesuffix('_names')}" in str(refused.value)
    assert "expected" in str(refused.value)


def test_an_answer_of_a_hub_is_told_without_what_it_was_signed_by() -> None:
    told = str(Unreachable("403 for url: https://cdn.example/file?X-Signature=hunter2 (try again)"))
    assert told == "403 for url: https://cdn.example/file?... (try again)"
    assert str(Unreachable("https://me:hunter2@index/ is away")) == "https://...@index/ is away"
