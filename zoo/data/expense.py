"""What a recipe will take: memory, work and time on this machine and on others, in figures and in sentences.

In come a recipe and its number of training rows; out go what `zoo.check` shows. Where a step was compiled for a machine
(tools/compile_for.py) or tried here, that stands in place of the formula. No backend is imported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.filesize import decimal

from zoo import backend
from zoo.backend import CompiledProgram
from zoo.data import compilations
from zoo.data.against_catalog import dimensions
from zoo.data.this_machine import process_bytes, processor, this_machine
from zoo.data.trials import Trial, Tried, kept
from zoo.errors import EnvironmentFault
from zoo.recipe import Recipe
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import MACHINES, SHARE_OF_PEAK, Estimate, Machine, Precision, estimate, machine_named


def expense(recipe: Recipe, rows: int | None, data: int) -> tuple[dict[str, Any], list[str]]:
    """Figures, none where the dimensions of the backbone are not known, and sentences of them.

    Args:
        recipe: what would be trained.
        rows: to train on; None where that is not known.
        data: bytes of its data files.
    """
    size = dimensions(recipe.model.backbone)
    if size is None:
        return {}, ["none: the dimensions of the backbone stand in its preset"]
    found = estimate(recipe, size, rows)
    asked = recipe.training.precision
    precisions: tuple[Precision, ...] = ("float32", "tf32", "bfloat16") if asked == "auto" else (asked,)
    on_cpu = [p for p in precisions if p in backend.ON_CPU]
    trial = _trial(recipe, size)
    machines = (this_machine(trial and trial.seconds["float32"] / trial.seconds["bfloat16"]), *MACHINES)
    compiled = _compiled(recipe, size, precisions)
    seconds = {machine.name: _seconds(found, machine, precisions, compiled) for machine in machines}
    packing = recipe.training.packing
    process = {
        name: {p: process_bytes(found, p, name, data, packing=packing) for p in on_cpu} for name in backend.NAMES
    }
    figures = asdict(found) | {
        "parameters": found.parameters,
        "state_bytes": found.state_bytes,
        "copied_bytes": found.copied_bytes,
        "memory_bytes": {p: found.memory_bytes(p) for p in precisions},
        "process_bytes": process,
        "seconds": seconds,
        "compiled": [
            {"machine": name, "precision": precision, "memory_bytes": program.memory} | asdict(program)
            for (name, precision), program in compiled.items()
        ],
    }
    weights, gradients = 4 * found.parameters, 4 * found.trained
    told = [
        f"weights: {found.parameters / 1e6:.1f} M ("
        + ", ".join(f"{name} {count / 1e6:.1f}" for name, count in found.parts.items())
        + ")",
        f"memory{_of_each(found.devices)} at batch {recipe.training.batch_size}, length {recipe.tokens.max_length}: "
        f"weights {decimal(weights)}, "
        f"gradients {decimal(gradients)}, moments of {recipe.training.optimizer.type} {decimal(4 * found.moments)}; "
        "activations "
        + " or ".join(f"{decimal(found.activations[p])} in {p}" for p in on_cpu or precisions),  # tf32's are float32's
        *_process_lines(process, found.copied_bytes),
        f"work: {found.flops_per_token / 1e6:,.0f} MFLOP a token, forward and backward",
    ]
    if found.steps is None:
        told.append("time: none, the number of training rows is not known")
    else:
        told.append(
            f"time of {found.steps:,} steps, were every text {recipe.tokens.max_length:,} tokens long, by roofline at "
            f"{SHARE_OF_PEAK:.0%} of each peak: "
            + "; ".join(_grouped({name: _times(by) for name, by in seconds.items()}))
            + ". This CPU's is what its cores reach with nothing else to do: beside other programs it takes longer"
        )
    if trainings := len(recipe.data.parts):
        figures["trainings"] = trainings
        told.append(f"{trainings} trainings in a row, of other rows each: memory and time are those of one")
    told += [_told(machine_named(name), precision, program) for (name, precision), program in compiled.items()]
    if asked == "auto":
        known = f"{trial.chosen} ({trial})" if trial else "the quickest one, which the run measures when it begins"
        told.append(f"precision: auto is {known}")
    return figures, told


def _of_each(devices: int) -> str:
    return "" if devices == 1 else f" of each of {devices} devices"


def _process_lines(process: Mapping[str, Mapping[Precision, int]], copied: int) -> list[str]:
    """What a process takes on a CPU, by backend and precision, and what a checkpoint that is written takes beside it;
    nothing of a precision that no CPU has."""
    known = {name: " or ".join(map(decimal, by.values())) for name, by in process.items() if by}
    if not known:
        return []
    listed = ", ".join(f"{name} {sizes}" for name, sizes in known.items())
    return [
        f"memory of a process on this CPU (jax: more while it compiles, in a first run): {listed}; "
        f"{decimal(copied)} more while a checkpoint is written"
    ]


Compiled = Mapping[tuple[str, Precision], CompiledProgram]
"""What compilers said of the training step, by machine and precision."""


def _compiled(recipe: Recipe, size: Dimensions, precisions: Sequence[Precision]) -> Compiled:
    """What tools/compile_for.py kept of this recipe's step."""
    steps = {(m.name, p): compilations.step_of(recipe, size, m.name, p) for m in MACHINES for p in precisions}
    programs = {key: compilations.kept(step) for key, step in steps.items()}
    return {key: program for key, program in programs.items() if program is not None}


def _seconds(
    found: Estimate, machine: Machine, precisions: Sequence[Precision], compiled: Compiled
) -> dict[Precision, float | None]:
    """Training time in each precision in which it fits: of what was compiled for the machine, else by formula."""
    seconds: dict[Precision, float | None] = {}
    for precision in precisions:
        program = compiled.get((machine.name, precision))
        if found.fits(machine, precision) if program is None else program.memory <= (machine.memory or math.inf):
            seconds[precision] = found.seconds(machine, precision)
            if program is not None and program.work is not None and found.steps is not None:
                seconds[precision] = found.steps * machine.roofline(*program.work, precision).seconds
    return seconds


def _told(machine: Machine, precision: Precision, program: CompiledProgram) -> str:
    said = f"compiled for {machine.name} in {precision} (tools/compile_for.py): {decimal(program.memory)}"
    if program.work is None:
        return f"{said}, which stands in place of the formula's memory there"
    (operations, moved), line = program.work, machine.roofline(*program.work, precision)
    work = f"{operations / 1e12:.3g} TFLOP and {decimal(round(moved))} from and to memory"
    return f"{said}, {work} a step, {1e3 * line.seconds:.3g} ms at the peak of {line.bound}: in place of the formula"


def _trial(recipe: Recipe, size: Dimensions) -> Trial[Precision] | None:
    """What an earlier run measured, on this processor, of a step of such a recipe."""
    try:
        name = backend.choose(recipe.backend).name
    except EnvironmentFault:
        return None  # told elsewhere
    tried = Tried(
        work="train",
        backend=name,
        rows=recipe.training.batch_size,
        length=recipe.tokens.max_length,
        hidden_dim=size.hidden_dim,
        num_heads=size.num_heads,
        intermediate_dim=size.intermediate_dim,
    )
    return kept(tried, processor(), backend.ON_CPU)


def _times(by_precision: Mapping[Precision, float | None]) -> str:
    known = [f"{_time(value)} in {name}" for name, value in by_precision.items() if value is not None]
    return " or ".join(known) or "has not the memory or the precision"


def _grouped(told: Mapping[str, str]) -> list[str]:
    """Machines of which the same is told together, in the order of the first of each."""
    together: dict[str, list[str]] = {}
    for name, text in told.items():
        together.setdefault(text, []).append(name)
    return [f"{', '.join(names)}: {text}" for text, names in together.items()]


def _time(seconds: float) -> str:
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{float(f'{seconds / 3600:.1g}'):,.0f} h"
