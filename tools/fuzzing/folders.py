"""Folders of runs with bytes and values of their files changed, some with a manifest that agrees: used, or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from hypothesis import strategies as st

from tools.fuzzing.case import Case, Kind, ends
from tools.fuzzing.mutating import bytes_of, data_of, lines_of
from tools.fuzzing.runs import Runs
from zoo.data.manifest import MANIFEST, write_manifest
from zoo.errors import DataError, EnvironmentFault, OutputError, RecipeError, TrainingError

CODES = tuple(kind.exit_code for kind in (RecipeError, DataError, EnvironmentFault, OutputError))
CALLS = {
    "done": (("predict",), ("report",), ("evaluate",), ("resume",), ("list",)),
    "half": (("resume",), ("report",), ("predict",), ("list",)),
}
LEFT_OUT = ("plots", "README.md", "report.html", "log.txt")
"""What no command reads."""


def folders(runs: Runs) -> Kind:
    """The kind for these runs."""
    whole = {name: _files(path) for name, path in {"done": runs.done, "half": runs.half}.items()}

    @st.composite
    def cases(draw: st.DrawFn) -> Case:
        of = draw(st.sampled_from(("done", "half")))
        changed = {}
        for name in draw(st.lists(st.sampled_from(sorted(whole[of])), min_size=1, max_size=2, unique=True)):
            changed[name] = draw(_changed(name, whole[of][name]))
        call = draw(st.sampled_from(CALLS[of]))
        return Case({"of": of, "call": list(call), "manifest": draw(st.integers(0, 3)) > 0}, changed)

    def judge(case: Case, folder: Path) -> None:
        of, (verb,) = case.about["of"], case.about["call"]
        run = Path(shutil.copytree(getattr(runs, of), folder / "run"))
        case.write(run)
        if case.about["manifest"]:
            for name in {Path(name).parent for name in case.files if Path(name).name != MANIFEST}:
                if (run / name / MANIFEST).exists():
                    write_manifest(run / name)
        if verb == "resume":
            ends(["run", str(run / "recipe.yaml"), "--out", str(run), "--resume"], 0, TrainingError.exit_code, *CODES)
        elif verb == "evaluate":
            (folder / "in.csv").write_text("text,label\na fine film,positive\na bad film,negative\n")
            ends(["evaluate", str(run), "--data", str(folder / "in.csv")], 0, *CODES)
        elif verb == "predict":
            ends(["predict", str(run), "--text", "a fine film"], 0, *CODES)
        elif verb == "list":  # whatever a folder holds, it has a row
            assert "1 of 1 runs" in ends(["list", "runs", str(run), "--where", "folder!=x", "--sort", "-test"], 0)[1]
        else:
            ends([verb, str(run)], 0, *CODES)

    return Kind(cases(), judge)


def _files(run: Path) -> dict[str, bytes]:
    found = (path for path in run.rglob("*") if path.is_file())
    names = {path: str(path.relative_to(run)) for path in found}
    return {name: path.read_bytes() for path, name in names.items() if not name.startswith(LEFT_OUT)}


@st.composite
def _changed(draw: st.DrawFn, name: str, content: bytes) -> bytes:
    if name.endswith(".safetensors") and draw(st.booleans()):  # eight bytes of length, a header in JSON, numbers
        length = int.from_bytes(content[:8], "little")
        header = json.dumps(draw(data_of(json.loads(content[8 : 8 + length])))).encode()
        return len(header).to_bytes(8, "little") + header + content[8 + length :]
    if name.endswith(".json") and draw(st.integers(0, 3)):
        return json.dumps(draw(data_of(json.loads(content)))).encode()
    if name.endswith(".jsonl") and draw(st.integers(0, 3)):
        rows = [json.loads(line) for line in content.splitlines()]
        at = draw(st.integers(0, len(rows) - 1))
        rows[at] = draw(data_of(rows[at]))
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    return draw(lines_of(content) if name.endswith((".yaml", ".jsonl")) and draw(st.booleans()) else bytes_of(content))
