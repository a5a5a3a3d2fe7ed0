"""`--to hf`: a folder that transformers loads, and that can be fine-tuned there.

In comes a `Source`; out come config.json, model.safetensors, tokenizer.json and tokenizer_config.json, and of a run
that was tested README.md, its model card. The check runs transformers' pipeline on them in a process of its own, from
the texts on: no second framework enters this process.
Refused: what transformers cannot compute (zoo.models.hugging_face); a pipeline that ends in an error.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from zoo.backend import installed
from zoo.errors import OutputError
from zoo.export.source import FEW, Rows, Source, cutting_notes, program
from zoo.models.hugging_face import SIDES, model_config, refuse_what_differs, tensors, tokenizer_files
from zoo.report import pages
from zoo.report.card import model_card

USAGE = """\
```python
from transformers import pipeline

model = pipeline("{pipeline}", model="THIS_FOLDER")
print(model("{text}"))
```
"""
"""What the card says of the folder's use."""
WITHOUT_PIPELINE = """\
```python
from transformers import AutoModelFor{program}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")
model = AutoModelFor{program}.from_pretrained("THIS_FOLDER")
print(model(**tokenizer("{text}", "{pair}", return_tensors="pt")))
```
"""
"""The same of what transformers 5 has no pipeline for."""
SCRIPT = Path(__file__).with_name("by_transformers.py")


def write(source: Source, folder: Path) -> list[str]:
    """Write the four files; warnings."""
    from safetensors.numpy import save_file

    card, tokenizer = source.card, source.tokenizer
    refuse_what_differs(card.blueprint.backbone)
    arrays = tensors(
        source.arrays, card.blueprint.backbone, head=card.blueprint.head.program, pad=tokenizer.specials.pad
    )
    save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    write_config(source, folder)
    notes = cutting_notes(source, [kept for kept in SIDES if kept != "head_tail"], "transformers")
    if note := card.task.threshold_note:
        notes.append(f"transformers {note} (text_zoo.threshold in config.json)")
    if "test" in source.run.metrics:
        usage = "\n".join([_usage(source), *(f"- {pages.plain(note)}." for note in notes)])
        readme = model_card(source.run.path, library_name="transformers", usage=usage)
        (folder / "README.md").write_text(readme, encoding="utf-8")
    return notes


def _usage(source: Source) -> str:
    task, head = source.card.task, source.card.blueprint.head
    if task.piped:
        asked = source.run.filler.opened(task.example) if task.each == "place" else task.example
        return USAGE.format(pipeline=task.pipeline, text=asked)
    return WITHOUT_PIPELINE.format(program=head.program, text=task.pair[0], pair=task.pair[1])


def write_config(source: Source, folder: Path) -> None:
    """config.json and the tokenizer's two files."""
    text = json.dumps(model_config(source.card, source.tokenizer), indent=2, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    for name, content in tokenizer_files(source.card, source.tokenizer).items():
        (folder / name).write_text(content, encoding="utf-8")


def rows(source: Source) -> Rows:
    tokens = source.card.tokens
    return source.rows(FEW, whole=tokens.truncation == "head_tail" or tokens.long == "window")


def missing() -> str | None:
    """What to install before the check can run; None where all of it is there."""
    names = ["transformers"] * (importlib.util.find_spec("transformers") is None) + ["torch"] * (
        "torch" not in installed()
    )
    return f"pip install {' '.join(names)}" if names else None


def check(source: Source, folder: Path, chosen: Rows) -> tuple[str, np.ndarray]:
    """transformers' name, and its values of the texts: of its pipeline, or of its model where every token has some."""
    task, found = source.card.task, ask(source, folder, chosen)
    if task.each == "text":
        return program("transformers"), task.named_values(found)
    if task.each == "place":
        values = source.expected(chosen).copy()  # of entries that transformers does not tell nothing is compared
        for row, likeliest in zip(values, found, strict=True):
            for guess in likeliest:
                row[guess["token"]] = guess["score"]
        return program("transformers"), values
    lengths = [len(row) for row in found]
    if lengths != chosen.table.lengths.tolist():
        raise OutputError("--to hf: transformers makes other tokens of the texts than the run: report this as a bug")
    outputs = np.concatenate([np.array(row, np.float32) for row in found])
    return program("transformers"), task.values(task.gathered(outputs, chosen.table, chosen))


def question(source: Source, folder: Path, chosen: Rows) -> dict[str, Any]:
    """The arguments of by_transformers.answer."""
    return {
        "folder": str(folder),
        "texts": chosen.texts,
        "pairs": chosen.pairs,
        "model": source.card.blueprint.head.program,
        "truncation": source.card.tokens.pair_truncation if chosen.pairs is not None else "longest_first",
    }


def ask(source: Source, folder: Path, chosen: Rows) -> list[Any]:
    """What transformers answers in a process of its own, see by_transformers.answer."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "USE_TF": "0"}
    with tempfile.TemporaryDirectory() as scratch:
        given, answer = Path(scratch) / "given.json", Path(scratch) / "answer.json"
        given.write_text(json.dumps(question(source, folder, chosen)), encoding="utf-8")
        done = subprocess.run(
            # -P: what lies beside the script is no module of that process.
            [sys.executable, "-P", str(SCRIPT), str(given), str(answer)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise OutputError(f"--to hf: transformers cannot use what was written ({last[0]}): report this as a bug")
        found: list[Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found
