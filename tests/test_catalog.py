"""The catalog: cards are sound, dimensions give the listed parameters, what is generated is not stale."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from zoo.data import catalog
from zoo.data.columns import as_tuple
from zoo.data.sources import address, locate_first
from zoo.data.tables import read_rows
from zoo.errors import RecipeError

ROOT = Path(__file__).parent.parent


def tool(name: str) -> ModuleType:
    """A script of tools/, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", catalog.dataset_names())
def test_dataset_card_is_sound(name: str) -> None:
    card = catalog.dataset_card(name)
    assert card.title
    assert card.description
    assert card.license
    assert card.citation
    assert card.homepage
    assert card.language is None or re.fullmatch("[a-z]{2,3}", card.language)
    for origin in card.origins:
        assert set(origin.splits) == set(card.rows), "every split has its number of rows"
        assert address(origin.uri).scheme in {"https", "package"} or address(origin.uri).revision, (
            "revisions are pinned"
        )
    if card.labels is not None:
        assert sorted(set(card.labels.values())) == list(range(len(card.label_names)))


@pytest.mark.parametrize("name", catalog.backbone_names())
def test_dimensions_give_the_listed_parameters(name: str) -> None:
    card = catalog.backbone_card(name)
    refresh = tool("refresh_catalog")
    shape = refresh.Dimensions(**{key: getattr(card, key) for key in refresh.Dimensions._fields})
    assert refresh.parameters(card.family, shape) == card.parameters
    assert card.hidden_dim % card.num_heads == 0
    assert card.num_segments == (2 if card.family == "bert" else 0)
    assert all("config.json" in origin.files for origin in card.origins)


def test_every_preset_of_keras_hub_has_a_card_with_its_count_and_handle() -> None:
    refresh = tool("refresh_catalog")
    listed = {name: entry for name, _, entry in refresh.presets()}
    assert len(listed) == 41
    assert set(listed) <= set(catalog.backbone_names())
    differing = {n for n, entry in listed.items() if catalog.backbone_card(n).parameters != entry["metadata"]["params"]}
    assert differing == set(refresh.CORRECTIONS)
    for name, entry in listed.items():
        first, second = catalog.backbone_card(name).origins
        assert first.uri == entry["kaggle_handle"]
        assert address(first.uri).revision
        assert second.uri.partition("@")[0] == f"hf://keras/{name}"


@pytest.mark.parametrize("command", [["refresh_catalog.py", "cards"], ["make_vocabularies.py"]])
def test_generated_files_are_not_stale(command: list[str]) -> None:
    script = str(ROOT / "tools" / command[0])
    done = subprocess.run(
        [sys.executable, script, *command[1:], "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (
        "usage" in subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True, check=True).stdout
    )


def test_a_shape_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="add it to SHAPES"):
        tool("refresh_catalog").dimensions("bert", 109482241)


def test_hashes_are_filled_in_where_the_card_leaves_them_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refresh = tool("refresh_catalog")
    source = tmp_path / "source"
    source.mkdir()
    (source / "rows.csv").write_text("text,label\n")
    for folder in ("datasets", "backbones"):
        (tmp_path / folder).mkdir()
    text = (catalog.FOLDER / "datasets" / "quora_insincere.yaml").read_text()
    (tmp_path / "datasets" / "quora_insincere.yaml").write_text(text)
    monkeypatch.setattr(catalog, "FOLDER", tmp_path)
    digest = hashlib.sha256(b"rows").hexdigest()
    monkeypatch.setattr(refresh, "fetch", lambda origin, progress: source)
    monkeypatch.setattr(refresh, "recorded", lambda origin: (None, {"train.csv": digest}))
    assert refresh.refresh_hashes(["quora_insincere"]) == 0
    written = (tmp_path / "datasets" / "quora_insincere.yaml").read_text()
    assert digest in written
    assert written.startswith(text.splitlines()[0]), "the comment stays"


@pytest.mark.parametrize(
    ("look", "name", "near"),
    [
        (catalog.dataset_card, "imbd", "imdb"),
        (catalog.backbone_card, "bert_base_en_uncase", "bert_base_en_uncased"),
        (catalog.vocabulary_folder, "nano_uncase", "nano_uncased"),
    ],
)
def test_unknown_name_gets_near_names(look, name: str, near: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RecipeError, match=f"{name}.*did you mean.*{near}"):
        look(name)


def test_unknown_name_without_near_ones_gets_the_choices() -> None:
    with pytest.raises(RecipeError, match="choose one of amazon_reviews, conll2003, go_emotions"):
        catalog.dataset_card("zzzzzz")


@pytest.mark.parametrize("name", [name for name in catalog.dataset_names() if name.startswith("smoke_")])
def test_samples_are_shipped_small_and_without_overlap(name: str) -> None:
    card = catalog.dataset_card(name)
    found = locate_first(card.origins)
    assert found is not None
    columns = [*as_tuple(card.text), card.label]
    lines = {
        split: [str(row) for _, row in read_rows(found[1] / file, columns)] for split, file in found[0].splits.items()
    }
    assert {split: len(rows) for split, rows in lines.items()} == card.rows
    assert not set(lines["train"]) & set(lines["test"])
    assert len(set(lines["train"])) == len(lines["train"])


@pytest.mark.parametrize("name", ["nano_uncased", "nano_films"])
def test_a_nano_vocabulary_has_the_special_tokens_first(name: str) -> None:
    entries = (catalog.vocabulary_folder(name) / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert entries[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(set(entries)) == len(entries)
    assert 250 <= len(entries) <= 600
    assert all(entry == entry.lower() for entry in entries[5:])


def test_nano_bpe_has_roberta_ids_and_all_bytes() -> None:
    from tokenizers import ByteLevelBPETokenizer

    folder = catalog.vocabulary_folder("nano_bpe")
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert [vocabulary[token] for token in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert vocabulary["<mask>"] == len(vocabulary) - 1 == max(vocabulary.values())
    tokenizer = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    hard = "naïve café 日本 \u200b 🙂 don't\tstop\n"
    ids = tokenizer.encode(hard).ids
    assert tokenizer.decode(ids) == hard
    assert vocabulary["<unk>"] not in ids


def test_nano_bpe_is_what_the_tokenizers_library_would_train() -> None:
    """Our merges are those of the Rust trainer as long as no two pairs are equally frequent."""
    from tokenizers import ByteLevelBPETokenizer

    makes = tool("make_vocabularies")
    trained = ByteLevelBPETokenizer()
    texts = makes.sample_texts(makes.SAMPLES)
    trained.train_from_iterator(texts, vocab_size=256 + 20, min_frequency=1, show_progress=False)
    theirs = set(trained.get_vocab()) - set(makes.byte_symbols().values())
    ours = {a + b for a, b in (line.split(" ") for line in makes.bpe(texts)[1].splitlines()[1:41])}
    assert len(theirs & ours) >= 18


def test_looked_up_hashes_say_where_they_come_from() -> None:
    for path in (catalog.FOLDER / "datasets").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        if re.search(r'"[0-9a-f]{64}"', text) or "hf://" in text:
            assert re.match(r"# (.*\n# )*.*(looked up|computed from)|# .*hash is\n# open", text), path.name
