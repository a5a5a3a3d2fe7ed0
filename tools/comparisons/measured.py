"""How far the zoo is from transformers and torch, on the backend of this process.

In comes the folder of reference.py; out come largest differences by row of rows.py.
Where it is asked for, one weight of ours is moved by 1e-2 before each comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from tools.comparisons.reference import CLASSES, CLIP, DECAY, EPSILON, PEAK, WARMUP
from zoo.backend import activate
from zoo.models import inference, weights
from zoo.recipe import Recipe, recipe_from
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer
from zoo.training.schedule import learning_rates

MOVED = np.float32(1e-2)
FAMILIES = ("bert", "distilbert", "roberta")


def recipe_of(folder: Path, family: str) -> Recipe:
    """The preset of a case as a recipe that takes its head too, without dropout."""
    dropout = {"dropout": 0.0}
    return recipe_from(
        {
            "name": "parity",
            "data": {"files": {"train": "train.csv", "label_names": [f"LABEL_{i}" for i in range(CLASSES)]}},
            "tokens": {"max_length": 16},
            "model": {
                "backbone": {"family": family, "preset": str(folder), **dropout},
                "head": {"type": "classifier", "init": "preset", **dropout},
            },
            "training": {
                "precision": "float32",
                "optimizer": {
                    "learning_rate": PEAK["minilm" if folder.name == "minilm" else "nano"],
                    "weight_decay": DECAY,
                    "epsilon": EPSILON,
                    "clip_norm": CLIP,
                },
                "schedule": {"type": "linear", "warmup": WARMUP},
            },
        }
    )


def move_one_weight(model: Any, path: str, by: np.float32 = MOVED) -> None:
    """Add 1e-2 to the first number of a variable."""
    variable = next(v for v in model.trainable_variables if v.path == path)
    value = weights.to_numpy(variable).copy()
    value.reshape(-1)[0] += by
    variable.assign(value)


def forward(folder: Path, family: str, *, perturb: bool) -> dict[str, float]:
    """Largest |difference| of hidden states at real tokens and of logits: padded, and row by row without padding."""
    import keras

    model = zoo.build(recipe_of(folder, family))
    last = model.get_layer("backbone").transformer_layers[-1]
    opened = keras.Model(model.inputs, {"hidden": last.output, "logits": model.output})
    both = activate().predictor(opened, precision="float32")
    reference = np.load(folder / "forward.npz")
    inputs = {name: reference[name] for name in inference.input_names(model)}
    mask = reference["padding_mask"].astype(bool)

    # Each weight is moved where it shows: the head's does not change the hidden states.
    norm, head = f"{last.name}/feedforward_layer_norm/beta", "logits/bias"
    if perturb:
        move_one_weight(model, norm)
    hidden = inference.to_host(both(inputs)["hidden"])
    found = {"padded": distance(hidden[mask], reference["hidden"][mask]), "unpadded": 0.0}
    for row in (int(mask.sum(axis=1).argmax()), int(mask.sum(axis=1).argmin())):
        alone = both({name: value[row : row + 1, : mask[row].sum()] for name, value in inputs.items()})
        off = distance(inference.to_host(alone["hidden"])[0], reference["hidden"][row][mask[row]])
        found["unpadded"] = max(found["unpadded"], off)
    if perturb:
        move_one_weight(model, norm, -MOVED)
        move_one_weight(model, head)
    found["logits"] = distance(inference.to_host(both(inputs)["logits"]), reference["logits"])
    return found


def steps(folder: Path, family: str, *, perturb: bool) -> dict[str, float]:
    """Largest |difference| of a weight after one step, and of a loss over all steps."""
    recipe = recipe_of(folder, family)
    model = zoo.build(recipe)
    if perturb:
        move_one_weight(model, "logits/bias")
    reference = np.load(folder / "steps.npz")
    losses = reference["losses"]
    rates = learning_rates(recipe.training.schedule, peak=recipe.training.optimizer.learning_rate, steps=len(losses))
    layers = model.get_layer("backbone").num_layers
    optimizer = build_optimizer(recipe.training.optimizer, model.trainable_variables, num_layers=layers, rates=rates)
    trainer = activate().trainer(model, optimizer, softmax_cross_entropy, precision="float32")
    found = {"weights": 0.0, "losses": 0.0}
    for step, expected in enumerate(losses):
        inputs = {name: reference[f"{name}/{step}"] for name in inference.input_names(model)}
        labels = reference[f"labels/{step}"]
        value, _ = trainer.step(inputs, labels, np.ones(len(labels), np.float32))
        found["losses"] = max(found["losses"], abs(float(inference.to_host(value)) - float(expected)))
        if step == 0:
            trainer.commit()
            after = zoo.build(recipe_of(folder / "stepped", family))
            found["weights"] = max(
                distance(weights.to_numpy(ours), weights.to_numpy(theirs))
                for ours, theirs in zip(model.trainable_variables, after.trainable_variables, strict=True)
            )
    return found


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


def measure(folder: Path, *, perturb: bool) -> Mapping[str, float]:
    """All rows of forward passes and of steps; `perturb` moves a weight before each."""
    found: dict[str, float] = {}
    for family in FAMILIES:
        kinds = [forward(folder / f"{family}-{kind}", family, perturb=perturb) for kind in ("gelu", "gelu_new")]
        found |= {f"forward/{family}/{what}": max(kind[what] for kind in kinds) for what in kinds[0]}
        found |= {
            f"steps/{family}/{what}": v for what, v in steps(folder / f"{family}-gelu", family, perturb=perturb).items()
        }
    found |= {f"forward/minilm/{what}": v for what, v in forward(folder / "minilm", "bert", perturb=perturb).items()}
    found |= {f"steps/minilm/{what}": v for what, v in steps(folder / "minilm", "bert", perturb=perturb).items()}
    found["masks/positions"] = mask_positions(perturb=perturb)
    return found
