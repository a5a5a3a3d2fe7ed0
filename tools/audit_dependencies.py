"""`python tools/audit_dependencies.py`: whether an advisory is known of any version that constraints.txt pins.

In come the pins; out come the advisories that pip-audit finds, and exit code 1 where there are any. Refused, with exit
code 4: a place of advisories that cannot be reached, and an answer that leaves packages out: pip-audit passes over
those that the index does not know, as a mirror without advisories knows none, and ends in 0. `make audit` installs it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from zoo import cli
from zoo.errors import EnvironmentFault
from zoo.recipe.showing import listed

ROOT = Path(__file__).parents[1]
FOUND = 1
"""What it ends in where an advisory is known."""


def ask(tool: str, pins: Path, service: str) -> list[dict[str, Any]]:
    """What pip-audit says of each package.

    Raises:
        EnvironmentFault: it is not installed, or could not ask.
    """
    command = [tool, "-r", str(pins), "--disable-pip", "--no-deps", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run([*command, "-s", service], capture_output=True, text=True, check=False)
    except OSError as error:
        raise EnvironmentFault(f"{tool} cannot be started ({error.strerror}): run `make audit`") from error
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as error:
        why = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise EnvironmentFault(
            f"no advisories could be asked for ({why:.300}): run this where {service}'s can be reached"
        ) from error
    return found


def audit(tool: str, pins: Path, service: str) -> int:
    """Tell what is known; the exit code. Raises EnvironmentFault as `ask`, and where packages were left out."""
    packages = ask(tool, pins, service)
    left_out = [package["name"] for package in packages if "skip_reason" in package]
    known = [(package, advisory) for package in packages for advisory in package.get("vulns", ())]
    for package, advisory in known:
        names = ", ".join([advisory["id"], *advisory.get("aliases", ())])
        mended = listed(advisory.get("fix_versions", ())) or "no version yet"
        cli.tell(f"{package['name']} {package['version']}: {names}; mended in {mended}")
    cli.tell(f"{len(known)} advisories, {len(packages) - len(left_out)} of {len(packages)} packages asked about")
    if left_out or not packages:
        raise EnvironmentFault(
            f"of {len(left_out)} packages nothing could be asked ({listed(left_out)}), expected of none: run this "
            f"where {service}'s advisories can be reached, or take another --service"
        )
    return FOUND if known else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command: arguments in, exit code out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tool", default=str(ROOT / ".audit" / "bin" / "pip-audit"), help="where pip-audit is")
    parser.add_argument("--pins", type=Path, default=ROOT / "constraints.txt", help="a file of name==version")
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi", help="who is asked for advisories")
    given = parser.parse_args(argv)
    try:
        return audit(given.tool, given.pins, given.service)
    except EnvironmentFault as error:
        cli.show_error(error)
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
