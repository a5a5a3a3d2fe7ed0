"""How far the zoo is from transformers and torch, on the backend of this process.

In comes the folder of reference.py; out come largest differences by row of rows.py.
Where it is asked for, all is compared again with one weight of ours moved by 1e-2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from tools.comparisons.reference import CLASSES, CLIP, DECAY, EPSILON, PEAK, WARMUP
from tools.comparisons.rows import MODELS
from tools.comparisons.targets import targets_of
from zoo.backend import activate
from zoo.models import inference, weights
from zoo.models.places import at_places
from zoo.recipe import Recipe, recipe_from
from zoo.recipe.heads import HEADS, Head
from zoo.tasks import task_of
from zoo.training.optimizer import build_optimizer
from zoo.training.schedule import learning_rates

MOVED = np.float32(1e-2)
MOVES = {"masked": "head_dense/bias", "span": "logits/kernel", "joint": "logits>imdb/bias"}
"""By type of head, the path of the weight that is moved, of others logits/bias; a bias of starts is all the same to a
softmax over tokens."""
LABEL_NAMES = [f"LABEL_{number}" for number in range(CLASSES)]
DATA: dict[str, dict[str, Any]] = {
    "masked": {"files": {"train": "train.csv"}},
    "span": {"dataset": "smoke_errands"},
}
"""By task, the data of a recipe whose rows are not looked at; of others files with classes."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A preset of reference.py's, and what it is of."""

    folder: Path
    family: str
    task: str

    def recipe(self, preset: Path | None = None) -> Recipe:
        """The preset as a recipe that takes its head too, without dropout; `preset` is another one of the kind."""
        dropout = {"dropout": 0.0}
        return recipe_from(
            {
                "name": "parity",
                "task": self.task,
                "data": DATA.get(self.task, {"files": {"train": "train.csv", "label_names": LABEL_NAMES}}),
                "tokens": {"max_length": 16},
                "model": {
                    "backbone": {"family": self.family, "preset": str(preset or self.folder), **dropout},
                    "head": {
                        "type": HEADS[self.task],
                        "init": "preset",
                        **(dropout if self.task != "masked" else {}),
                    },
                },
                "training": {
                    "precision": "float32",
                    "optimizer": {
                        "learning_rate": PEAK["minilm" if self.folder.name == "minilm" else "nano"],
                        "weight_decay": DECAY,
                        "epsilon": EPSILON,
                        "clip_norm": CLIP,
                    },
                    "schedule": {"type": "linear", "warmup": WARMUP},
                },
            }
        )

    @property
    def moved(self) -> str:
        """The path of the head's weight that is moved."""
        return weight_of(self.recipe().model.head)


def weight_of(head: Head) -> str:
    """The path of the weight of a head that is moved."""
    return MOVES.get(head.type, "logits/bias")


def move_one_weight(model: Any, path: str) -> None:
    """Add 1e-2 to the first number of a variable."""
    variable = next(v for v in model.trainable_variables if v.path == path)
    value = weights.to_numpy(variable).copy()
    value.reshape(-1)[0] += MOVED
    variable.assign(value)


@contextmanager
def moved(model: Any, path: str, *, really: bool) -> Iterator[None]:
    """A variable is moved meanwhile, if really it is to be."""
    variable = next(v for v in model.trainable_variables if v.path == path)
    before = weights.to_numpy(variable).copy()
    if really:
        move_one_weight(model, path)
    yield
    variable.assign(before)


def forward(model: Any, case: Case, ways: Sequence[bool]) -> list[dict[str, float]]:
    """Largest |difference| of logits, of a classifier also of hidden states at real tokens: padded, and row by row
    without padding; for each of `ways`, whether a weight is moved."""
    import keras

    last = model.get_layer("backbone").transformer_layers[-1]
    outputs = {"logits": model.output}
    if case.task == "classification":
        outputs["hidden"] = last.output
    both = activate().predictor(keras.Model(model.inputs, outputs), precision="float32")
    reference = np.load(case.folder / "forward.npz")
    inputs = {name: reference[name] for name in inference.input_names(model)}
    mask = reference["padding_mask"].astype(bool)
    # A score of every token where a model gives one; those of padding are nobody's.
    real = mask if reference["logits"].shape[:2] == mask.shape else slice(None)

    def hidden() -> dict[str, float]:
        padded = inference.to_host(both(inputs)["hidden"])
        found = {"padded": distance(padded[mask], reference["hidden"][mask]), "unpadded": 0.0}
        for row in (int(mask.sum(axis=1).argmax()), int(mask.sum(axis=1).argmin())):
            alone = both({name: value[row : row + 1, : mask[row].sum()] for name, value in inputs.items()})
            off = distance(inference.to_host(alone["hidden"])[0], reference["hidden"][row][mask[row]])
            found["unpadded"] = max(found["unpadded"], off)
        return found

    every = []
    for really in ways:
        found: dict[str, float] = {}
        # Each weight is moved where it shows: the head's does not change the hidden states.
        if case.task == "classification":
            with moved(model, f"{last.name}/feedforward_layer_norm/beta", really=really):
                found |= hidden()
        with moved(model, case.moved, really=really):
            ours = inference.to_host(both(inputs)["logits"])
        every.append(found | {"logits": distance(ours[real], reference["logits"][real])})
    return every


def steps(model: Any, case: Case, ways: Sequence[bool]) -> list[dict[str, float]]:
    """Largest |difference| of a weight after one step, and of a loss over all steps; for each of `ways`, whether a
    weight was moved."""
    training, reference = case.recipe().training, np.load(case.folder / "steps.npz")
    losses, trained = reference["losses"], at_places(model) if case.task == "masked" else model
    batches = [{name: reference[f"{name}/{step}"] for name in _names(reference, step)} for step in range(len(losses))]
    after = {v.path: weights.to_numpy(v) for v in zoo.build(case.recipe(case.folder / "stepped")).variables}
    rates = learning_rates(training.schedule, peak=training.optimizer.learning_rate, steps=len(losses))
    layers = model.get_layer("backbone").num_layers
    optimizer = build_optimizer(training.optimizer, trained.trainable_variables, num_layers=layers, rates=rates)
    trainer = activate().trainer(trained, optimizer, task_of(case.recipe().model.head).loss, precision="float32")
    state = [*trained.variables, *optimizer.variables]
    start = [weights.to_numpy(variable).copy() for variable in state]
    every = []
    for really in ways:
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        if really:
            move_one_weight(trained, case.moved)
        found = {"weights": 0.0, "losses": 0.0}
        for step, (batch, expected) in enumerate(zip(batches, losses, strict=True)):
            more, targets = targets_of(batch, case.task)
            inputs = {name: (batch | more)[name] for name in inference.input_names(trained)}
            value, _ = trainer.step(inputs, targets, np.ones(len(targets), np.float32))
            found["losses"] = max(found["losses"], abs(float(inference.to_host(value)) - float(expected)))
            if step == 0:
                trainer.commit()
                found["weights"] = max(
                    distance(weights.to_numpy(variable), after[variable.path])
                    for variable in trained.trainable_variables
                )
        trainer.commit()
        every.append(found)
    return every


MASKS = (((4, 12, 31, 31), 0.1), ((32, 48, 384), 0.1), ((7,), 0.5), ((2, 3), 0.9))


def mask_positions(*, perturb: bool) -> int:
    """Positions of portable masks, of several shapes, rates, seeds and steps, that differ from `numpy_mask`."""
    from keras import ops

    from zoo.backend import kernels

    differing = 0
    for number, (shape, rate) in enumerate(MASKS):
        state = np.array([10**9 - number, 7 * number])
        ours = inference.to_host(kernels().keep_mask(ops.convert_to_tensor(state + perturb), shape, rate))
        differing += int((ours != numpy_mask(state, shape, rate)).sum())
    return differing


def numpy_mask(state: np.ndarray, shape: tuple[int, ...], rate: float) -> np.ndarray:
    """zoo.backend.transformer.Kernels.keep_mask as its text says it, in NumPy's unsigned arithmetic of 64 bits."""
    low = np.uint64(0xFFFFFFFF)

    def mix(x: np.ndarray) -> np.ndarray:
        for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
            x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & low
        return x ^ (x >> np.uint64(16))

    seed, step = (np.array(number, np.uint64) for number in state)
    key = mix((seed + step * np.uint64(0x9E3779B9)) & low)
    rows = mix(np.arange(int(np.prod(shape[:-1])), dtype=np.uint64) ^ key)
    columns = mix(np.arange(shape[-1], dtype=np.uint64) ^ mix((key + np.uint64(0x3C6EF372)) & low))
    x = (rows[:, None] + columns[None, :]) & low
    bits = (x * ((2 * x + np.uint64(1)) & low)) & low
    signed = bits.astype(np.int64) - ((bits >> np.uint64(31)) << np.uint64(32)).astype(np.int64)
    return (signed >= round(rate * 2**32) - 2**31).reshape(shape)


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest absolute difference; infinite where one of them is not finite."""
    found = float(np.abs(ours.astype(np.float64) - theirs).max())
    return found if np.isfinite(found) else float("inf")


def measure(folder: Path, ways: Sequence[bool]) -> list[dict[str, float]]:
    """All rows of forward passes and of steps that the folder has something for, for each of `ways`, whether one weight
    is moved."""
    every: list[dict[str, float]] = [{"masks/positions": mask_positions(perturb=really)} for really in ways]

    def largest(part: str, model: str, figures: Sequence[Mapping[str, float]]) -> None:
        for found, own in zip(every, figures, strict=True):
            for what, value in own.items():
                key = f"{part}/{model}/{what}"
                found[key] = max(found.get(key, 0.0), value)

    for name in MODELS:
        family, _, task = name.partition("-")
        # Of a classifier of random weights there are two, of which one is trained too.
        for place in [folder / name] if task or name == "minilm" else sorted(folder.glob(f"{name}-gelu*")):
            if not place.exists():
                continue
            case = Case(folder=place, family="bert" if name == "minilm" else family, task=task or "classification")
            built = zoo.build(case.recipe())
            largest("forward", name, forward(built, case, ways))
            if (place / "steps.npz").exists():
                largest("steps", name, steps(built, case, ways))
    return every


def _names(arrays: Any, step: int) -> list[str]:
    """What there is of a step."""
    return [name.removesuffix(f"/{step}") for name in arrays if name.endswith(f"/{step}")]
