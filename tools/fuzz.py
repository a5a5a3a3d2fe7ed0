"""Throw thousands of bad inputs at the zoo: each ends as documented, and none in a traceback or never.

    python tools/fuzz.py --cases 5000                      # of all kinds, with progress; exit 1 after a finding
    python tools/fuzz.py --only tables --seed 7            # of one kind, other cases
    python tools/fuzz.py --again fuzz-findings/tables      # what was found, once more

Hypothesis draws the cases and makes what it finds as small as it can; a finding is kept in --out, by kind, as its files
and a case.json, and its kind is left for the next one. `folders` and `http` train a nano run first, on torch, in half a
minute. A case that takes over --seconds ends the program with where it stood, and lies in last-KIND in --out.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import hypothesis  # noqa: E402
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from rich.console import Console  # noqa: E402

from tools.fuzzing.case import Case, Kind, kept  # noqa: E402

KINDS = ("recipe", "tables", "overrides", "folders", "http")
EVERY = 5.0
"""Seconds between two lines of progress."""


def kind_of(name: str, workplace: Path) -> Kind:
    """A kind by its name; what it needs of a run is made in the workplace."""
    if name == "recipe":
        from tools.fuzzing.recipe import RECIPE

        return RECIPE
    if name == "tables":
        from tools.fuzzing.tables import TABLES

        return TABLES
    if name == "overrides":
        from tools.fuzzing.overrides import OVERRIDES

        return OVERRIDES
    os.environ.setdefault("KERAS_BACKEND", "torch")
    from tools.fuzzing.runs import make_runs

    runs = make_runs(workplace / f"runs of {name}")
    if name == "folders":
        from tools.fuzzing.folders import folders

        return folders(runs)
    from tools.fuzzing.http import http

    return http(runs)


def fuzz(
    kind: Kind, cases: int, seed: int, workplace: Path, before: Callable[[Case], None] = lambda case: None
) -> None:
    """Judge so many cases of a kind; raises the AssertionError of the smallest that does not end as it has to.

    `before` is given each case before it is judged.
    """

    @hypothesis.seed(seed)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(kind.cases)
    def judged(case: Case) -> None:
        before(case)
        with tempfile.TemporaryDirectory(dir=workplace) as folder:
            kind.judge(case, Path(folder))

    judged()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, help="of all kinds together (1000)")
    parser.add_argument("--only", choices=KINDS, action="append", help="kinds; all by default")
    parser.add_argument("--seed", type=int, default=0, help="other cases for another one (0)")
    parser.add_argument("--seconds", type=float, default=600.0, help="in which a case has to end (600)")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), help="where findings are kept")
    parser.add_argument("--again", type=Path, metavar="FOLDER", help="judge a finding once more")
    given = parser.parse_args(argv)
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory() as made:
        workplace = Path(made)
        os.environ["ZOO_CACHE"] = str(workplace / "cache")  # nobody's own: what is missing in it stays missing
        if given.again is not None:
            name, case = kept(given.again)
            (workplace / "again").mkdir()
            kind_of(name, workplace).judge(case, workplace / "again")
            console.print("it ends as it has to")
            return 0
        names = given.only or KINDS
        found = [
            name
            for number, name in enumerate(names)
            if not _sound(name, given.cases // len(names), given, workplace, console)
        ]
    console.print(f"{given.cases:,} cases of {', '.join(names)}: {len(found)} findings")
    return 1 if found else 0


def _sound(name: str, cases: int, given: argparse.Namespace, workplace: Path, console: Console) -> bool:
    """Whether nothing was found among so many cases of a kind; what was is kept and told."""
    kind = kind_of(name, workplace)
    begun = told = time.monotonic()
    count = 0
    last: list[Case] = []

    def before(case: Case) -> None:
        nonlocal count, told
        count += 1
        last[:] = [case]
        case.keep(given.out / f"last-{name}", name)
        faulthandler.dump_traceback_later(given.seconds, exit=True, file=sys.__stderr__)
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            console.print(f"{name:10} {count:6,} of {cases:,} cases in {told - begun:.0f} s")

    try:
        fuzz(kind, cases, given.seed, workplace, before)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
        last[0].keep(given.out / name, name)
        console.print(f"{name:10} found after {count:,} cases, kept in {given.out / name}:", style="bold red")
        console.print(f"{type(error).__name__}: {error}", markup=False)
        return False
    finally:
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(given.out / f"last-{name}", ignore_errors=True)
    console.print(f"{name:10} {count:6,} cases in {time.monotonic() - begun:.0f} s: all end as they have to")
    return True


if __name__ == "__main__":
    sys.exit(main())
