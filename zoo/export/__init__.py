"""A finished run for other programs: written in their format, and checked by them.

In come a `Run` and the name of a format; out come a folder and an `Exported`, which says how far the other program's
values are from the run's own on real rows. The folder is seen only once the check has passed. Refused: an
unknown format, a folder that holds something, a format that cannot hold this model, a missing package or backend;
and, with nothing left behind, what the other program computes otherwise (OutputError).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zoo.data.writing import storage_errors, write_folder
from zoo.errors import OutputError, RecipeError
from zoo.export import hugging_face, keras_formats, onnx_files
from zoo.export.source import Rows, Source
from zoo.recipe.faults import not_among

if TYPE_CHECKING:
    from zoo.runs.run import Run

__all__ = ["FORMATS", "LEAST_AGREEMENT", "LIMIT", "Exported", "Format", "export"]

LIMIT = 1e-4
"""Largest difference of a value that a float32 format may have; see `Task.difference`."""
LEAST_AGREEMENT = 0.98
"""Least share of rows to which an int8 format gives the run's own label; of few rows one may differ."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a format is written and checked.

    write: puts the files into a folder and returns warnings. rows: what it is checked with. check: loads the folder in
    the other program; its name and version, and its values [rows, names]. require: raises where it cannot be
    written here. missing: what has to be installed before it can be checked. remarks: more warnings, of what was
    written. speeds: texts a second by kind. sizes: bytes of the model by kind. exact: whether values, not only labels,
    are to agree.
    """

    write: Callable[[Source, Path], list[str]]
    rows: Callable[[Source], Rows]
    check: Callable[[Source, Path, Rows], tuple[str, np.ndarray]]
    require: Callable[[], None] = lambda: None
    missing: Callable[[], str | None] = lambda: None
    remarks: Callable[[Source, Path, Rows], list[str]] = lambda source, folder, rows: []
    speeds: Callable[[Source, Path, Rows], dict[str, float]] = lambda source, folder, rows: {}
    sizes: Callable[[Source, Path], dict[str, int]] = lambda source, folder: {}
    exact: bool = True


FORMATS: dict[str, Format] = {
    "hf": Format(
        write=hugging_face.write,
        rows=hugging_face.rows,
        check=hugging_face.check,
        missing=hugging_face.missing,
    ),
    "keras_hub": Format(
        write=keras_formats.write_keras_hub,
        rows=keras_formats.rows,
        check=keras_formats.check_keras_hub,
        remarks=keras_formats.tokens_that_differ,
    ),
    "keras": Format(write=keras_formats.write_keras, rows=keras_formats.rows, check=keras_formats.check_keras),
    "onnx": Format(write=onnx_files.write, rows=onnx_files.rows, check=onnx_files.check, require=onnx_files.require),
    "onnx_int8": Format(
        write=onnx_files.write_int8,
        rows=onnx_files.rows_int8,
        check=onnx_files.check,
        require=onnx_files.require,
        speeds=onnx_files.speeds,
        sizes=onnx_files.sizes,
        exact=False,
    ),
    "tf_saved_model": Format(
        write=keras_formats.write_saved_model,
        rows=keras_formats.rows,
        check=keras_formats.check_saved_model,
    ),
}
"""By the name that --to takes."""

FormatName = Literal["hf", "keras_hub", "keras", "onnx", "onnx_int8", "tf_saved_model"]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written and what the check found.

    files: bytes by name. checked_by: the other program with its version, None where it is not installed; then rows is
    0 and difference and agreement are None. rows_from: where the rows are from. difference: the largest of a value, see
    `Task.difference`. agreement: share of rows with the run's own label, 0 to 1. speeds: texts a second by kind. sizes:
    bytes of the model by kind.
    """

    format: str
    path: Path
    files: Mapping[str, int]
    checked_by: str | None
    rows: int
    rows_from: str
    difference: float | None
    agreement: float | None
    speeds: Mapping[str, float]
    sizes: Mapping[str, int]
    warnings: tuple[str, ...]


UNCHECKED: Mapping[str, Any] = {
    "checked_by": None,
    "rows": 0,
    "rows_from": "",
    "difference": None,
    "agreement": None,
    "speeds": {},
}
"""The part of `Exported` that a check fills in."""


def export(run: Run, to: str, out: str | Path | None = None) -> Exported:
    """Write a finished run in another program's format, and check it there.

    Args:
        run: the run.
        to: one of FORMATS.
        out: the folder, new or empty; None takes export/<to> in the run's own, of one of several tasks
            export/<task>-<to>.

    Raises:
        RecipeError: an unknown format, or one that cannot hold this model.
        EnvironmentFault: a package or a backend that the format needs is missing.
        OutputError: no finished model, a folder that holds something or cannot be written; or the other program
            computes something else, and then nothing is left behind.
    """
    if to not in FORMATS:
        raise RecipeError(f"--to: {not_among(to, FORMATS)}")
    run.task.refuse("export")
    kind, source = FORMATS[to], Source(run)
    kind.require()
    own = to if run.own_task is None else f"{run.own_task}-{to}"
    target = Path(out) if out is not None else run.path / "export" / own
    with storage_errors(target), write_folder(target) as folder:
        warnings = kind.write(source, folder)
        files = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        found = UNCHECKED
        needed = kind.missing()
        if needed is None:
            rows = kind.rows(source)
            found = compared(kind, source, folder, rows, to)
            warnings += kind.remarks(source, folder, rows)
        else:
            warnings.append(f"not checked: {needed}, and export again")
        sizes = kind.sizes(source, folder)
    return Exported(
        format=to,
        path=target,
        files=files,
        sizes=sizes,
        warnings=tuple(warnings + saves_nothing(sizes, found["speeds"])),
        **found,
    )


def saves_nothing(sizes: Mapping[str, int], speeds: Mapping[str, float]) -> list[str]:
    """What the int8 model, where there is one, does not save beside the float32 one."""
    told = []
    if sizes and sizes["int8"] >= sizes["float32"]:
        told.append("int8 saves no space on this model: its matrices are too small, and embeddings stay float32")
    if speeds and speeds["int8"] <= speeds["float32"]:
        told.append("int8 is no quicker than float32 on this machine, for these texts")
    return told


def compared(kind: Format, source: Source, folder: Path, rows: Rows, to: str) -> Mapping[str, Any]:
    """The check's part of `Exported`; OutputError where the other program computes something else."""
    expected = source.expected(rows)
    program, found = kind.check(source, folder, rows)
    task = source.card.task
    difference, same = task.difference(found, expected), task.same(found, expected)
    differing = int((~same).sum())
    if kind.exact and not difference <= LIMIT:  # NaN is no agreement
        raise OutputError(
            f"--to {to}: {program} gives values that are {difference:.1e} from the run's own ({len(rows)} "
            f"{rows.what}), expected at most {LIMIT:g}; nothing was written: report this as a bug"
        )
    if not kind.exact and differing > max(1, int((1 - LEAST_AGREEMENT) * len(rows))):
        raise OutputError(
            f"--to {to}: {program} gives {differing} of {len(rows)} {rows.what} another label than the run, expected "
            f"at most {1 - LEAST_AGREEMENT:.0%}; nothing was written: use --to {to.removesuffix('_int8')}"
        )
    return {
        "checked_by": program,
        "rows": len(rows),
        "rows_from": rows.what,
        "difference": difference,
        "agreement": float(same.mean()),
        "speeds": kind.speeds(source, folder, rows),
    }
