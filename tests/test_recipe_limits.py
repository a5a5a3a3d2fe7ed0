"""What is too long, too large or no file at all, in a recipe and in its path: a message each, and no end of memory."""

import os
import re
from pathlib import Path

import pytest

from zoo.errors import RecipeError
from zoo.recipe import load_recipe

GOOD = """\
name: mine
data: {dataset: imdb}
model:
  backbone: {family: bert, preset: some_bert}
"""


def only_fault(folder: Path, changes: list[str]) -> str:
    path = folder / "mine.yaml"
    path.write_text(GOOD, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides=changes)
    assert len(caught.value.faults) == 1, caught.value.faults
    return caught.value.faults[0]


class TestPaths:
    @pytest.mark.parametrize("name", ["a" * 300 + ".yaml", "a/" * 3000 + "a.yaml", "\udcff/a.yaml"])
    def test_a_path_that_no_file_can_have(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(RecipeError, match=r"cannot be read|no such file"):
            load_recipe(tmp_path / name)

    def test_pipe_or_device(self, tmp_path: Path) -> None:
        """A pipe that nobody writes into would be waited for."""
        os.mkfifo(tmp_path / "pipe.yaml")
        for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
            with pytest.raises(RecipeError, match="got a pipe or a device, expected a recipe file"):
                load_recipe(path)


HUGE = ["9" * 20, "9" * 300, "9" * 5000, "-" + "9" * 300, "0x" + "f" * 5000, "0o" + "7" * 300]


@pytest.mark.parametrize("change", ["na\udcffme=x", "name=\udcff", "data.limit={tr\udcffain: 1}"])
def test_an_override_that_is_not_utf8(tmp_path: Path, change: str) -> None:
    """A byte of the command line that is not UTF-8 reaches Python as a lone surrogate."""
    assert "which is not UTF-8, expected dotted.key=value in UTF-8" in only_fault(tmp_path, [change])


class TestHugeNumbers:
    @pytest.mark.parametrize("number", HUGE)
    @pytest.mark.parametrize("key", ["training.epochs", "training.optimizer.learning_rate", "data.limit.test"])
    def test_beyond_64_bits(self, tmp_path: Path, key: str, number: str) -> None:
        assert "64 bits" in only_fault(tmp_path, [f"{key}={number}"])

    @pytest.mark.parametrize(
        "key",
        [
            *("training.epochs", "training.steps", "training.batch_size", "training.eval_batch_size"),
            *("training.log_every", "tokens.max_length", "data.limit.train", "model.backbone.num_layers"),
            *("model.backbone.hidden_dim", "model.backbone.num_heads", "model.backbone.max_positions"),
        ],
    )
    def test_what_no_machine_can_do(self, tmp_path: Path, key: str) -> None:
        """Every count has a bound: what is checked before a run never fills the memory in it."""
        fault = only_fault(tmp_path, [f"{key}={10**12}"])
        assert re.search(rf"{key}: got 1000000000000, expected .*at most [\d,]+", fault)

    def test_number_too_large_for_a_float(self, tmp_path: Path) -> None:
        assert "got .inf" in only_fault(tmp_path, ["training.optimizer.learning_rate=1e400"])

    def test_key_of_thousands_of_parts(self, tmp_path: Path) -> None:
        assert "got a key of 5001 parts" in only_fault(tmp_path, ["a." * 5000 + "b=1"])
