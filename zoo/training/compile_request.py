"""Asks a process of its own to compile a recipe's steps for a device that is not here.

In come a recipe and a `Target`; out comes an `Answer`, what the device's compiler says of the training step and of a
batch of prediction. `zoo.training.compile_steps` is what the process runs: a compiler takes environment variables that
have to be there when a process begins. Refused: a compiler that is not here, a batch that the devices cannot share, and
what the process refuses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from zoo.backend import CompiledProgram
from zoo.backend.compilers import MOST_DEVICES, Target, environment
from zoo.errors import DataError, EnvironmentFault, RecipeError, TrainingError, ZooError
from zoo.recipe import Recipe
from zoo.recipe.estimate import Precision
from zoo.recipe.length import evaluation_rows


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be compiled: a recipe as JSON, the name of a target, how many devices, whether keras-hub's own model
    beside it, and the folder where the compiler lies."""

    recipe: str
    target: str
    devices: int
    stock: bool
    folder: str | None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step on a batch.

    products are the operations of the model's matrix products alone, as `Dimensions.flops_per_token` counts them, on
    all devices together. own and stock are what the compiler says of the recipe's model and of keras-hub's, or why it
    refuses the program; stock is None where it was not asked for.
    """

    rows: int
    length: int
    products: int
    own: CompiledProgram | str
    stock: CompiledProgram | str | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a request: the two steps, and how many training steps the whole recipe has."""

    precision: Precision
    training: Step
    prediction: Step
    steps: int


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A ZooError of the process, by its exit code."""

    exit_code: int
    faults: tuple[str, ...]


REQUEST = TypeAdapter(Request)
REPLY: TypeAdapter[Answer | Refusal] = TypeAdapter(Answer | Refusal)

_ERRORS = {kind.exit_code: kind for kind in (RecipeError, DataError, EnvironmentFault, TrainingError)}


def ask(recipe: Recipe, target: Target, *, devices: int, stock: bool, folder: Path | None) -> Answer:
    """Compile the steps of a recipe; the progress of the process goes to stderr, for minutes.

    Args:
        recipe: whose steps.
        target: what to compile for.
        devices: how many of it, which share a batch.
        stock: whether keras-hub's own classifier is compiled too.
        folder: where the compiler was installed; None looks where Python looks.

    Raises:
        RecipeError, DataError, EnvironmentFault: see above.
    """
    _refuse_uneven(recipe, devices)
    given = environment(target, folder)
    request = Request(
        recipe=recipe.model_dump_json(exclude_unset=True),
        target=target.name,
        devices=devices,
        stock=stock,
        folder=None if folder is None else str(folder.absolute()),
    )
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "zoo.training.compile_steps"],
        input=REQUEST.dump_json(request),
        stdout=subprocess.PIPE,
        env=os.environ | given | {"PYTHONPATH": path},
        check=False,
    )
    return answered(done.returncode, done.stdout.decode(errors="replace"))


def answered(code: int, output: str) -> Answer:
    """The answer in the last line that the process wrote; raises what it refused.

    Args:
        code: how the process ended.
        output: its stdout.
    """
    lines = output.splitlines()
    try:
        reply = REPLY.validate_json(lines[-1] if lines else "")
    except ValidationError:
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        raise EnvironmentFault(
            f"the compiler's process ended with {how}, expected an answer: what it wrote stands above; where this "
            "machine's memory ran out (signal 9), take one with more, or pass --set training.batch_size with fewer rows"
        ) from None
    if isinstance(reply, Refusal):
        raise _ERRORS.get(reply.exit_code, ZooError)(reply.faults)
    return reply


def _refuse_uneven(recipe: Recipe, devices: int) -> None:
    """RecipeError for a number of devices that cannot be, or cannot share the batches of training and prediction, and
    for weights in parts."""
    if not 1 <= devices <= MOST_DEVICES:
        raise RecipeError(f"--devices: got {devices}, expected 1 to {MOST_DEVICES}")
    if (parts := recipe.training.model_parallel) > 1:
        raise RecipeError(
            f"training.model_parallel: got {parts}, expected 1, as a step is compiled for devices that each have all "
            "weights: pass --set training.model_parallel=1"
        )
    sizes = {"batch_size": recipe.training.batch_size, "eval_batch_size": evaluation_rows(recipe.training)}
    faults = [
        f"--devices: got {devices}, expected a divisor of training.{key}, which is {rows}: "
        f"pass --set training.{key}={-(-rows // devices) * devices}"
        for key, rows in sizes.items()
        if rows % devices
    ]
    if faults:
        raise RecipeError(faults)
