"""What transformers' pipeline makes of an exported folder: run as a script, in a process without the zoo.

In come the path of a JSON file (folder, texts, pairs or null, truncation) and that of the answer; out comes there,
for each text, the score of each label. Nothing is refused: an error of transformers ends the process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def answer(folder: str, texts: list[str], pairs: list[str] | None, truncation: str) -> list[dict[str, float]]:
    """Label to score, a row each."""
    import transformers

    classify: Any = transformers.pipeline("text-classification", model=folder, tokenizer=folder, device="cpu")
    given: list[Any] = list(texts)
    if pairs is not None:
        given = [{"text": one, "text_pair": other} for one, other in zip(texts, pairs, strict=True)]
    found = [classify(row, truncation=truncation, top_k=None) for row in given]
    return [{score["label"]: score["score"] for score in row} for row in found]


if __name__ == "__main__":
    question, target = map(Path, sys.argv[1:])
    target.write_text(json.dumps(answer(**json.loads(question.read_text(encoding="utf-8")))), encoding="utf-8")
