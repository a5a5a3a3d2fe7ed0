"""The model card: the Hub's own reader reads its head, and the text says what stands in the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from zoo.errors import OutputError
from zoo.report.card import model_card, write_card
from zoo.report.pages import plain
from zoo.runs.run_folder import RunFolder, create_run
from zoo.tasks.classification import Classification

CATALOG = """
name: mine
data: {dataset: smoke_reviews}
tokens: {max_length: 32, truncation: tail}
model: {backbone: {family: bert, preset: minilm_l6_en_uncased}, head: {type: classifier}}
"""
OWN = """
name: mine
data: {files: {train: reviews.csv, label_names: ["<script>alert(1)</script>", "a|b", "$\\\\frac{"]}}
model: {backbone: {family: roberta, preset: hf://org/model@abc}, head: {type: classifier}}
"""
FIGURES = {
    "rows": 3,
    "accuracy": 2 / 3,
    "accuracy_low": 0.2,
    "accuracy_high": 0.94,
    "f1": 0.5,
    "precision": 0.5,
    "recall": 0.75,
    "matthews": 0.1,
    "loss": 0.7,
}


def finished_run(path: Path, recipe: str, names: list[str], **facts: Any) -> RunFolder:
    with create_run(path, recipe) as folder:
        shares = [[0.9] + [0.1 / (len(names) - 1)] * (len(names) - 1)] * 3
        rows = Classification(names=tuple(names)).rows(["test/0", "test/1", "test/2"], [0, 0, 1], shares)
        folder.write_predictions(rows)
        dataset = {"label_names": names, "rows": {"train": 96, "test": 3}, "truncated": {"train": 7, "test": 1}}
        told = {"metrics": {"test": FIGURES}, "dataset": dataset, "backend": "jax", "device": "cpu"}
        folder.update_run({**told, "precision": "float32", "fingerprint": "abc", **facts})
    return folder


def test_the_head_is_read_by_the_hubs_own_reader(tmp_path: Path) -> None:
    card = ModelCard(model_card(finished_run(tmp_path / "run", CATALOG, ["negative", "positive"]).path))
    head = card.data
    assert (head.library_name, head.pipeline_tag, head.language) == ("text-zoo", "text-classification", "en")
    assert head.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert head.license == "apache-2.0"
    assert head.model_name == "mine"
    figures = {result.metric_type: result for result in head.eval_results}
    assert figures["accuracy"].metric_value == 2 / 3
    assert figures["accuracy"].dataset_type == "smoke_reviews"
    assert figures["f1"].metric_args is None
    assert "roc_auc" not in figures
    assert ModelCard(str(card)).data.to_dict() == head.to_dict()


def test_the_text_says_what_the_run_says(tmp_path: Path) -> None:
    text = model_card(finished_run(tmp_path / "run", CATALOG, ["negative", "positive"], threshold=0.375).path)
    for part in (
        "67% (95% interval 20% to 94%, Wilson 1927)",
        "Texts of more than 32 tokens are cut (their end stays). That was so for 7 of the 96 training texts",
        "counts as positive from a probability of 0.375 up",
        "those of the class positive",
        "written for text-zoo. Licence: Apache-2.0.",
        "expected calibration error",
        "On jax, cpu, float32",
        "python -m zoo.predict",
    ):
        assert part in text, part


def test_data_with_a_hub_identifier_and_no_stated_licence(tmp_path: Path) -> None:
    recipe = CATALOG.replace("smoke_reviews", "imdb")
    head = ModelCard(model_card(finished_run(tmp_path / "run", recipe, ["negative", "positive"]).path)).data
    assert head.datasets == ["stanfordnlp/imdb"]
    assert head.license is None
    result = head.eval_results[0]
    assert (result.dataset_type, result.dataset_split) == ("stanfordnlp/imdb", "test")
    assert result.dataset_revision == "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"


def test_own_files_claim_nothing_and_names_are_no_markup(tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", "a|b", "$\\frac{"]
    text = model_card(finished_run(tmp_path / "run", OWN, names).path)
    head = ModelCard(text).data
    assert (head.datasets, head.license, head.language, head.base_model) == (None, None, None, "org/model")
    assert {r.metric_type: r.metric_args for r in head.eval_results}["f1"] == {"average": "macro"}
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, a\\|b, \\$\\\\frac{" in text
    assert str(tmp_path) not in text
    assert "macro averages" in text


def test_rows_carved_from_train_are_named_so(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run", CATALOG, ["negative", "positive"])
    path = folder.path / "predictions.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("test/", "train/"), encoding="utf-8")
    text = model_card(folder.path)
    assert "carved from the training data" in text
    assert ModelCard(text).data.eval_results[0].dataset_split == "train"


def test_an_export_says_how_its_files_are_used(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run", CATALOG, ["negative", "positive"])
    text = model_card(folder.path, library_name="transformers", usage="Use a pipeline.\n")
    assert ModelCard(text).data.library_name == "transformers"
    assert "## Use\n\nUse a pipeline.\n" in text
    assert "zoo.predict" not in text
    assert write_card(folder).read_text(encoding="utf-8") == model_card(folder.path)


def test_a_run_that_was_not_tested_has_none(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "run", CATALOG)
    with pytest.raises(OutputError, match="was not tested, expected a finished run"):
        model_card(folder.path)


def test_plain_text_stays_what_it_is() -> None:
    assert plain("a\n *b* _c_ [d](e) <f> & `g`") == r"a \*b\* \_c\_ \[d\](e) &lt;f&gt; &amp; \`g\`"
