"""zoo.bias on a model trained here, against transformers' fill-mask on the folder that our export writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers

import zoo
from zoo.explain.bias import OWN, Bias, read_templates
from zoo.export import LIMIT, hugging_face
from zoo.export.source import Source
from zoo.finished import Run
from zoo.models import weights
from zoo.recipe import recipe_from

pytestmark = pytest.mark.usefixtures("backend")

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A nano BERT that has read a little of doctors and nurses, and so puts pronouns where they stood."""
    folder = tmp_path_factory.mktemp("pronouns")
    templates = read_templates(OWN)
    sentences = [
        templates.sentence(template, subject).replace("[MASK]", word)
        for template in templates.templates
        for subject, word in (("doctor", "he"), ("doctor", "his"), ("nurse", "she"), ("nurse", "her"))
    ]
    asked = [templates.sentence(each, subject) for each in templates.templates for subject in templates.subjects]
    words = sorted({word for text in (*sentences, *asked) for word in text.lower().replace(".", "").split()})
    (folder / "vocab.txt").write_text("\n".join([*SPECIALS, ".", *(word for word in words if "[" not in word)]) + "\n")
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in sentences * 8))
    sizes = {"family": "bert", "num_layers": 1, "num_heads": 2, "hidden_dim": 64, "intermediate_dim": 128}
    recipe = recipe_from(
        {
            "name": "pronouns",
            "task": "masked",
            "data": {"files": {"train": str(folder / "texts.txt"), "label": None}, "deduplicate": False},
            "tokens": {"max_length": 16},
            "model": {
                "backbone": {**sizes, "dropout": 0.0, "vocabulary": str(folder / "vocab.txt")},
                "head": {"share": 0.3},
            },
            "training": {"epochs": 6, "batch_size": 16, "precision": "float32", "optimizer": {"learning_rate": 0.002}},
        }
    )
    return zoo.train(recipe, folder / "run", progress=False)


def largest_difference(bias: Bias, folder: Path) -> float:
    """From transformers' figures of the same sentences."""
    fill = transformers.pipeline("fill-mask", model=str(folder), device="cpu")
    worst = 0.0
    for leaning in bias.leanings:
        for sentence, shares in leaning.sentences.items():
            for group, share in shares.items():
                entries = list(bias.groups[group])
                theirs = sum(found["score"] for found in fill(sentence, targets=entries, top_k=len(entries)))
                worst = max(worst, abs(theirs - share))
    return worst


def test_figures_are_those_of_fill_mask(run: Run, tmp_path: Path) -> None:
    bias = run.bias()
    assert all(share > 0.01 for leaning in bias.leanings for share in leaning.probabilities.values())
    hugging_face.write(Source(run), tmp_path)
    assert largest_difference(bias, tmp_path) < LIMIT


def test_figures_can_be_others(run: Run, tmp_path: Path) -> None:
    hugging_face.write(Source(run), tmp_path)
    moved = zoo.load_run(run.path)
    bias = moved.model.get_layer("logits").bias
    bias.assign(weights.to_numpy(bias) * 1.1)
    assert largest_difference(moved.bias(), tmp_path) > LIMIT
