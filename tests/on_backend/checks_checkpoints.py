"""Checkpoints: written and read back, damaged in every part, and the best weights in each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recipes
import zoo
from zoo.backend import Backend
from zoo.data import room
from zoo.data.against_catalog import dimensions
from zoo.errors import OutputError
from zoo.models import inference, weights
from zoo.recipe.optimizers import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.checkpoint import Checkpoints, Progress
from zoo.training.optimizer import build_optimizer

pytestmark = pytest.mark.usefixtures("backend")


class TestCheckpoints:
    def test_round_trip(self, backend: Backend, tmp_path: Path) -> None:
        """Also the optimizer's moments and the states of dropout."""
        model, optimizer = stepped(backend)
        kept = Checkpoints(tmp_path)
        progress = Progress(epoch=1, step=2, best=0.25, best_epoch=1)
        saved(kept, progress, model, optimizer, kept=(1,))
        other, second = stepped(backend, steps=0)
        assert kept.restore(other, lambda reached: second) == (progress, second, [])
        assert any("seed" in v.path for v in model.variables)
        for ours, theirs in ((model, other), (optimizer, second)):
            assert len(ours.variables) == len(theirs.variables)
            for one, two in zip(ours.variables, theirs.variables, strict=True):
                np.testing.assert_array_equal(weights.to_numpy(one), weights.to_numpy(two), err_msg=one.path)

    def test_two_are_kept(self, backend: Backend, tmp_path: Path) -> None:
        model, optimizer = stepped(backend, steps=0)
        kept = Checkpoints(tmp_path)
        assert kept.newest() is None
        for step in (3, 6, 9):
            saved(kept, Progress(epoch=step // 3, step=step), model, optimizer)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000006", "step-00000009"]
        assert kept.newest() == tmp_path / "step-00000009"

    def test_the_room_that_they_take_is_foreseen(self, backend: Backend, tmp_path: Path) -> None:
        """Weights, both moments, and the weights of the best epoch, three times at once."""
        recipe = recipes.load("imdb_bert_2k", profile="smoke")
        model, optimizer = stepped(backend, steps=0)
        kept = Checkpoints(tmp_path)
        for epoch in (1, 2):
            saved(kept, Progress(epoch=epoch, step=epoch, best_epoch=1), model, optimizer, kept=(1,))
        size = dimensions(recipe.model.backbone)
        assert size is not None
        foreseen = room.run_bytes(recipe, size) - room.BESIDE
        assert foreseen == pytest.approx(3 * room.held_bytes(tmp_path / "step-00000002"), rel=0.05)

    def test_nothing_to_restore(self, backend: Backend, tmp_path: Path) -> None:
        model, optimizer = stepped(backend, steps=0)
        assert Checkpoints(tmp_path / "none").restore(model, lambda reached: optimizer) == (Progress(), None, [])

    def test_all_damaged(self, backend: Backend, tmp_path: Path) -> None:
        model, optimizer = stepped(backend, steps=0)
        kept = Checkpoints(tmp_path)
        for step in (3, 6):
            saved(kept, Progress(step=step), model, optimizer)
        (tmp_path / "step-00000003" / "progress.json").write_text("{")
        (tmp_path / "step-00000006" / "optimizer.safetensors").unlink()
        with pytest.raises(OutputError, match="no checkpoint can be read: start again") as caught:
            kept.restore(model, lambda reached: optimizer)
        assert [fault.split(" is ")[0] for fault in caught.value.faults[:2]] == [
            "checkpoint step-00000006",
            "checkpoint step-00000003",
        ]

    def test_a_flipped_bit_or_a_cut_byte_of_any_file_is_seen(self, backend: Backend, tmp_path: Path) -> None:
        """The checkpoint before is taken, and the damaged one goes."""
        model, optimizer = stepped(backend, steps=0)
        kept = Checkpoints(tmp_path / "kept")
        for epoch in (1, 2):
            saved(kept, Progress(epoch=epoch, step=3 * epoch, best_epoch=1), model, optimizer, kept=(1,))
        names = sorted(path.name for path in (tmp_path / "kept" / "step-00000006").iterdir())
        files = [f"{name}.safetensors" for name in ("epoch-00001", "model", "optimizer")]
        assert names == sorted([*files, "manifest.json", "progress.json"])
        for number, name in enumerate([*names, *names]):
            folder = tmp_path / str(number)
            shutil.copytree(tmp_path / "kept", folder)
            path = folder / "step-00000006" / name
            raw = bytearray(path.read_bytes())
            if number < len(names):
                raw[len(raw) // 2] ^= 4
            else:
                raw.pop()
            path.write_bytes(raw)
            progress, _, (passed,) = Checkpoints(folder).restore(model, lambda reached: optimizer)
            assert progress.step == 3
            assert passed.startswith(f"checkpoint step-00000006 is damaged and passed over: {path} ")
            assert not path.exists()

    def test_the_best_weights_are_part_of_every_checkpoint(self, backend: Backend, tmp_path: Path) -> None:
        model, optimizer = stepped(backend, steps=0)
        variable = model.trainable_variables[0]
        kept = Checkpoints(tmp_path)
        for epoch in (1, 2, 3):
            variable.assign(np.full(variable.shape, float(epoch), np.float32))
            saved(kept, Progress(epoch=epoch, step=epoch, best_epoch=1), model, optimizer, kept=(1,))
        # It is taken from the one before where the last has been damaged, and a damaged one is never copied.
        (tmp_path / "step-00000003" / "epoch-00001.safetensors").write_bytes(b"")
        progress = Progress(epoch=4, step=4, best_epoch=1)
        kept.load_epoch(1, model)
        assert weights.to_numpy(variable).max() == 1.0
        saved(kept, progress, model, optimizer, kept=(1,))
        assert kept.restore(model, lambda reached: optimizer)[0] == progress
        for step in (3, 4):
            (tmp_path / f"step-0000000{step}" / "epoch-00001.safetensors").unlink()
        with pytest.raises(OutputError, match="the weights of epoch 1 are damaged: go on with --resume"):
            saved(kept, Progress(epoch=5, step=5, best_epoch=1), model, optimizer, kept=(1,))


def saved(folder: Checkpoints, progress: Progress, model: Any, optimizer: Any, kept: tuple[int, ...] = ()) -> None:
    folder.write(folder.taken(progress, model, optimizer), kept)


def stepped(backend: Backend, steps: int = 2) -> tuple[Any, Any]:
    """A nano model and its optimizer after some steps."""
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke"))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-3] * 3)
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32")
    inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
    for _ in range(steps):
        trainer.step(inputs, np.array([0, 1, 0, 1], np.int32), np.ones(4, np.float32))
    trainer.commit()
    return model, optimizer
