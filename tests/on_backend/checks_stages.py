"""Checks of runs that begin with what another run has learned, on the backend of this process."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import SHORT

import recipes
import zoo
from zoo.errors import EnvironmentFault, RecipeError
from zoo.finished import Run
from zoo.models import weights
from zoo.recipe import Recipe

pytestmark = pytest.mark.usefixtures("backend")


def after(run: Run, changes: Mapping[str, Any] | None = None) -> Recipe:
    """quickstart's `smoke`, which begins with the backbone of a run."""
    begun = {"model.backbone": {"family": "bert", "preset": str(run.path)}}
    return recipes.load("quickstart", profile="smoke", overrides={**SHORT, **begun, **(changes or {})})


class TestRunAsPreset:
    def test_backbone_and_vocabulary_are_those_of_the_run(self, whole: Run) -> None:
        saved = weights.read_safetensors(whole.path / "model" / "weights.safetensors")
        model = zoo.build(after(whole, {"seed": 7}))
        found = {variable.path: weights.to_numpy(variable) for variable in weights.parameters(model)}
        assert found.keys() == saved.keys()
        others = {path for path in found if not np.array_equal(found[path], saved[path])}
        assert others == {"logits/kernel", "logits/bias"}
        with pytest.raises(RecipeError, match=r"tokens\.max_length: got 513, but the backbone has 512 positions"):
            zoo.build(after(whole, {"tokens.max_length": 513}))

    def test_the_head_too(self, whole: Run, tmp_path: Path) -> None:
        saved = weights.read_safetensors(whole.path / "model" / "weights.safetensors")
        asked = {"model.head": {"type": "classifier", "init": "preset"}}
        model = zoo.build(after(whole, asked))
        for variable in weights.parameters(model):
            np.testing.assert_array_equal(weights.to_numpy(variable), saved[variable.path], err_msg=variable.path)
        (tmp_path / "rows.csv").write_text("text,label\n" + "a film,positive\na play,negative\n" * 20)
        turned = {"train": str(tmp_path / "rows.csv"), "label_names": ["positive", "negative"]}
        model = zoo.build(after(whole, {**asked, "data": {"files": turned}}))
        np.testing.assert_array_equal(weights.to_numpy(model.get_layer("logits").bias), saved["logits/bias"][::-1])

    def test_a_head_for_something_else(self, whole: Run) -> None:
        head = {"type": "classifier", "init": "preset", "preset_labels": ["good", "bad"]}
        with pytest.raises(RecipeError, match=r"got good, bad, expected the classes of whole, which are negative, pos"):
            zoo.build(after(whole, {"model.head": head}))
        others = {"task": "multilabel", "data": {"dataset": "smoke_feelings"}}
        with pytest.raises(RecipeError, match="the run whole learned classification, expected multilabel"):
            zoo.build(after(whole, {**others, "model.head": {"type": "multilabel", "init": "preset"}}))

    def test_a_damaged_run(self, whole: Run, tmp_path: Path) -> None:
        shutil.copytree(whole.path / "model", tmp_path / "run" / "model")
        file = tmp_path / "run" / "model" / "weights.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        recipe = after(whole, {"model.backbone.preset": str(tmp_path / "run")})
        with pytest.raises(EnvironmentFault, match=r"weights\.safetensors has the SHA-256"):
            zoo.build(recipe)
