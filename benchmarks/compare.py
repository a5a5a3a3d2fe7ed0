"""Recipes x backends, and peers, each in a fresh process, against the table of expected results.

    python benchmarks/compare.py --recipes quickstart --profile cpu --peers hf
    python benchmarks/compare.py --recipes sst2_roberta --backends torch --seeds 0,1,2,3,4
    python benchmarks/compare.py --speed-only --profile cpu --recipes quickstart --backends tensorflow --peers hf

Out come tables on the screen (with --format json one JSON document on stdout) and a new folder with results.json,
results.csv, tables.md, chart.png and, for each recipe of which the zoo made two whole runs or more, these side by side
in a folder.
Exit code 0, also where a result is within noise of what is expected; 1 where one is missed or a process failed (with
--speed-only: where a process failed); 2 to 6 as zoo.run. README.md beside this file is the protocol.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import psutil  # noqa: E402
from rich.console import Console  # noqa: E402

import recipes  # noqa: E402
from benchmarks import speed, tables, tidy, verdicts  # noqa: E402
from benchmarks.device import facts, kinds  # noqa: E402
from benchmarks.peers.hf_model import why_not  # noqa: E402
from benchmarks.processes import Contender, Failed, command, environment, once  # noqa: E402
from zoo import cli  # noqa: E402
from zoo.backend import installed  # noqa: E402
from zoo.data.backbones import missing  # noqa: E402
from zoo.data.this_machine import processor_told  # noqa: E402
from zoo.errors import EXIT_INTERRUPTED, OutputError, RecipeError, ZooError  # noqa: E402
from zoo.recipe import Recipe, load_recipe  # noqa: E402
from zoo.report.comparison import write_comparison  # noqa: E402
from zoo.runs.opening import open_whole  # noqa: E402

BACKENDS = ("jax", "tensorflow", "torch")
RESULTS = ROOT / "benchmarks" / "results"
HF = (
    Contender(name="hf_tuned", kind="hf", options=("--setting", "tuned")),
    Contender(name="hf_notebook", kind="hf", options=("--setting", "notebook")),
    Contender(name="hf_tuned_float32", kind="hf", options=("--setting", "tuned", "--precision", "float32")),
    Contender(name="hf_pipeline", kind="hf", options=("--setting", "pipeline")),
)
PEERS: Mapping[str, tuple[Contender, ...]] = {"hf": HF, **{contender.name: (contender,) for contender in HF}}
"""What stands against the zoo, by the name that --peers takes."""
SPEED_ALONE = ("hf_pipeline", "hf_tuned_float32")
"""Peers that have no whole run: a pipeline does not train, and the other one differs from hf_tuned in speed only."""

Say = Callable[[str], None]


def obstacle(recipe: Recipe, contender: Contender) -> str | None:
    """Why a contender cannot do a recipe on this machine; None where it can. No network, no backend."""
    needs = missing(recipe)
    if needs:
        listed = "; ".join(f"{need.what} is not in the cache ({need.uri})" for need in needs)
        return f"not run: {listed}: run python -m zoo.fetch"
    if contender.is_peer:
        reason = why_not(recipe)
        return reason and f"not run: {reason}"
    if contender.backend not in installed():
        return f"not run: the backend {contender.backend} is not installed"
    if recipe.backend not in (None, contender.backend):
        return f"not run: the recipe is for {recipe.backend} alone"
    return None


def whole_runs(
    name: str, recipe: Recipe, options: argparse.Namespace, contenders: Iterable[Contender], runs: Path, say: Say
) -> list[dict[str, Any]]:
    """A row for each contender and seed, with its figures or with the reason why there are none.

    The zoo's own runs leave their folders in `runs`, by recipe, contender and seed.
    """
    rows = []
    for contender in contenders:
        if contender.name in SPEED_ALONE:
            continue
        reason = obstacle(recipe, contender)
        for seed in options.seeds or seeds_of(recipe):
            row = {**_row(recipe, options.profile, contender), "seed": seed}
            if reason is None:
                say(f"{name}: {contender.name} trains with seed {seed}")
                row |= _whole_run(name, recipe, options, contender, seed, runs)
            else:
                row |= {"outcome": reason}
            rows.append(row)
    return rows


def seeds_of(recipe: Recipe) -> range:
    """As many seeds as the recipe's verdict wants, from its own on."""
    return range(recipe.seed, recipe.seed + (recipe.expected.seeds if recipe.expected else 1))


def _row(recipe: Recipe, profile: str | None, contender: Contender) -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "profile": profile,
        "model": recipe.model.backbone.preset or f"fresh {recipe.model.backbone.family}",
        "dataset": recipe.told_data,
        "expected": recipe.expected.model_dump() if recipe.expected else None,
        "contender": contender.name,
        "peer": contender.is_peer,
    }


def _whole_run(
    name: str, recipe: Recipe, options: argparse.Namespace, contender: Contender, seed: int, runs: Path
) -> dict[str, Any]:
    words = command(contender, name, options.profile, (*options.changes, f"seed={seed}"))
    if not contender.is_peer:
        words += ["--out", str(runs / recipe.name / f"{contender.name}-seed-{seed}")]
    try:
        found = once(words, environment(contender))
    except Failed as failure:
        return {"outcome": f"failed: {failure}", "failed": str(failure)}
    return {**found, "outcome": verdicts.outcome(found)}


def accuracy_differences(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """`difference.accuracy.PEER.BACKEND.RECIPE`: mean over the seeds that both have, zoo minus peer."""
    found: dict[str, list[float]] = {}
    tested = [row for row in rows if "test" in row]
    for ours in (row for row in tested if not row["peer"]):
        for theirs in (row for row in tested if row["peer"]):
            if (ours["recipe"], ours["seed"]) == (theirs["recipe"], theirs["seed"]):
                key = f"difference.accuracy.{theirs['contender']}.{ours['contender']}.{ours['recipe']}"
                found.setdefault(key, []).append(ours["test"]["accuracy"] - theirs["test"]["accuracy"])
    return {key: sum(values) / len(values) for key, values in found.items()}


def machine(device: str) -> str:
    """What this machine is, without its name."""
    cores, memory = psutil.cpu_count() or 0, psutil.virtual_memory().total / 2**30
    accelerator = "no accelerator" if device == "cpu" else device
    return f"{cores} cores of {processor()}, {memory:.0f} GB, {accelerator}, {platform.system()}"


def processor() -> str:
    """The processor's own name, and whether it multiplies bfloat16; its architecture where it does not tell."""
    told = processor_told()
    if not told:
        return f"{platform.machine()} processor"
    name = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    features = [flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if re.search(rf"\b{flag}\b", told)]
    title = name[1].strip() if name else platform.machine()
    return f"an {platform.machine()} {title} with {', '.join(features)}" if features else f"an {title}"


def document(
    results: list[dict[str, Any]], speeds: list[dict[str, Any]], options: argparse.Namespace
) -> dict[str, Any]:
    """All that was measured, as results.json holds it."""
    measured = [*(row for row in results if "test" in row), *(row for each in speeds for row in each["rows"])]
    device = next((row["device"] for row in measured if "device" in row), "cpu")
    versions: dict[str, str] = {}
    for row in measured:
        versions = {**row.get("versions", {}), **versions}
    return {
        "date": date.today().isoformat(),
        "machine": machine(device),
        "device": device,
        **({"accelerator": told} if (told := facts()) else {}),
        "versions": versions,
        "options": {key: getattr(options, key) for key in ("profile", "changes", "rounds", "speed_only")},
        "runs": _runs(results, peers=False),
        "peer_runs": _runs(results, peers=True),
        "verdicts": verdicts.verdicts(results),
        "results": results,
        "speed": speeds,
        **speed.flat(speeds),
        **accuracy_differences(results),
    }


def _runs(rows: Sequence[Mapping[str, Any]], *, peers: bool) -> list[dict[str, Any]]:
    """The whole runs of the zoo or of the peers, in the form of benchmarks/results/README.md."""
    kept = ("recipe", "profile", "backend", "seed", "fingerprint", "precision", "test", "version", "timing", "memory")
    return [
        {key: row[key] for key in kept if key in row} | ({"peer": row["contender"]} if peers else {})
        for row in rows
        if "test" in row and row["peer"] == peers
    ]


def write(found: Mapping[str, Any], out: Path | None) -> Path:
    """Write a new folder with results.json, results.csv, tables.md and chart.png; what was measured is never touched.

    Args:
        found: see `document`.
        out: the folder; None takes the next free one of benchmarks/results.

    Raises:
        OutputError: the folder holds something.
    """
    folder = out or next_free(RESULTS, found["date"], found["device"])
    refuse_used(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        (folder / "results.csv").write_text(tidy.text(found), encoding="utf-8")
        (folder / "tables.md").write_text(tables.markdown(found), encoding="utf-8")
        picture = tables.chart(found)
        if picture is not None:
            (folder / "chart.png").write_bytes(picture)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}): choose another --out") from error
    return folder


def side_by_side(runs: Path, folder: Path, say: Say) -> None:
    """Write runs-RECIPE/compare.html and its pictures into `folder` for each recipe with two finished runs or more."""
    for recipe in sorted(runs.iterdir()):
        made = [open_whole(path.parent) for path in sorted(recipe.glob("*/run.json"))]
        finished = [run for run in made if run.run["status"] == "done"]
        if len(finished) > 1:
            page, _ = write_comparison(finished, folder / f"runs-{recipe.name}")
            say(f"written: {page}")


def next_free(root: Path, day: str, device: str) -> Path:
    """The first free of DATE-MACHINE-1, -2 and so on."""
    kind = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    number = 1
    while (root / f"{day}-{kind}-{number}").exists():
        number += 1
    return root / f"{day}-{kind}-{number}"


def refuse_used(folder: Path) -> None:
    """Raise OutputError unless the folder is new or empty."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise OutputError(f"{folder} holds something already, expected a new folder: choose another --out")


def compare(options: argparse.Namespace, console: Console) -> int:
    """Measure all that is asked for; the exit code."""
    if options.out is not None:
        refuse_used(options.out)

    def say(text: str) -> None:
        console.print(text, style="dim", markup=False)

    contenders = [Contender(name=name, kind="zoo", backend=name) for name in options.backends]
    contenders += [contender for peer in options.peers for contender in PEERS[peer]]
    results: list[dict[str, Any]] = []
    speeds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.recipes:
            recipe = load_recipe(cli.find_recipe(name), profile=options.profile, overrides=options.changes)
            able = [contender for contender in contenders if obstacle(recipe, contender) is None]
            if able:
                changes = tuple(options.changes)
                found = speed.measure(
                    name,
                    options.profile,
                    changes,
                    able,
                    rounds=options.rounds,
                    say=say,
                    alone=options.alone,
                    seconds=options.seconds,
                )
                speeds.append({**found, "recipe": recipe.name})
            if options.speed_only:
                results += [
                    {**_row(recipe, options.profile, who), "outcome": reason}
                    for who in contenders
                    if (reason := obstacle(recipe, who)) is not None
                ]
            else:
                results += whole_runs(name, recipe, options, contenders, Path(scratch), say)
        found = document(results, speeds, options)
        folder = write(found, options.out)
        say(f"written: {folder}")
        side_by_side(Path(scratch), folder, say)
    if options.format == "json":
        print(json.dumps(found, indent=2))
    else:
        tables.show(found, Console(width=None if sys.stdout.isatty() else tables.WIDTH))
    return exit_code(found)


def exit_code(found: Mapping[str, Any]) -> int:
    """1 where a process failed or an expected result was missed, else 0: what is within noise is not missed."""
    failed = [row for each in (*found["speed"], {"rows": found["results"]}) for row in each["rows"] if "failed" in row]
    missed = [row for row in found["verdicts"] if row["verdict"] == "missed"]
    return 1 if failed or missed else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], epilog="Lists are separated by spaces or commas."
    )
    shipped = list(recipes.names())
    parser.add_argument("--recipes", nargs="+", default=shipped, metavar="RECIPE", help="default: all that are shipped")
    parser.add_argument("--profile", metavar="NAME", help="one of the recipes' profiles")
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), metavar="NAME", help="default: all three")
    parser.add_argument("--peers", nargs="+", default=[], metavar="NAME", help=f"of {', '.join(PEERS)}; default: none")
    parser.add_argument(
        "--seeds",
        nargs="+",
        default=[],
        metavar="N",
        help="seeds of whole runs; default: as many as expected.seeds says, from the recipe's own on",
    )
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="as zoo.run's")
    parser.add_argument("--rounds", type=int, default=speed.ROUNDS, metavar="N", help="blocks of each process")
    parser.add_argument(
        "--alone",
        action=argparse.BooleanOptionalAction,
        default=bool(kinds()),
        help="one process at a time, not all in turns; default: where there is an accelerator",
    )
    parser.add_argument("--seconds", type=float, default=speed.SECONDS, metavar="S", help="--alone: for a recipe")
    parser.add_argument("--speed-only", action="store_true", help="no whole runs")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new folder; default: one in benchmarks/results")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what stdout gets")
    options = parser.parse_args(argv)
    for name in ("recipes", "backends", "peers", "seeds"):
        setattr(options, name, [part for value in getattr(options, name) for part in value.split(",") if part])
    for option, known in (("backends", BACKENDS), ("peers", tuple(PEERS))):
        for value in getattr(options, option):
            if value not in known:
                raise RecipeError(f"--{option}: got {value!r}, expected one of {', '.join(known)}")
    for value in options.seeds:
        if not value.isdigit():
            raise RecipeError(f"--seeds: got {value!r}, expected whole numbers, as in --seeds 0,1,2")
    if options.rounds < 1:
        raise RecipeError(f"--rounds: got {options.rounds}, expected 1 or more")
    options.seeds = [int(value) for value in options.seeds]
    twice = [seed for seed in options.seeds if options.seeds.count(seed) > 1]
    if twice:
        raise RecipeError(f"--seeds: got {twice[0]} more than once, expected each seed once: leave one out")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        return compare(parse(argv), console)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except ZooError as error:
        cli.show_error(error)
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
