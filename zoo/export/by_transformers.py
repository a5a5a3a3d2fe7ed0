"""What transformers makes of an exported folder: run as a script, in a process without the zoo.

In come the path of a JSON file (folder, texts, pairs or null, truncation, kind of model) and that of the answer; out
comes there, for each text, the score of each label by the pipeline, or of a model for tokens the logits of every token,
and of a masked language model the likeliest entries of the vocabulary at the text's mask.
Nothing is refused: an error of transformers ends the process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LIKELIEST = 100
"""Entries of the vocabulary that are told of a mask."""


def answer(folder: str, texts: list[str], pairs: list[str] | None, truncation: str, model: str) -> list[Any]:
    """Label to score, or logits [tokens, labels], a row each."""
    import transformers

    if model in ("TokenClassification", "QuestionAnswering"):
        return of_tokens(folder, texts, pairs, truncation, model)
    if model == "MaskedLM":
        fill: Any = transformers.pipeline("fill-mask", model=folder, tokenizer=folder, device="cpu")
        return [fill(text, top_k=LIKELIEST) for text in texts]
    classify: Any = transformers.pipeline("text-classification", model=folder, tokenizer=folder, device="cpu")
    given: list[Any] = list(texts)
    if pairs is not None:
        given = [{"text": one, "text_pair": other} for one, other in zip(texts, pairs, strict=True)]
    found = [classify(row, truncation=truncation, top_k=None) for row in given]
    return [{score["label"]: score["score"] for score in row} for row in found]


def of_tokens(
    folder: str, texts: list[str], pairs: list[str] | None, truncation: str, model: str
) -> list[list[list[float]]]:
    """Logits [tokens, labels] of each text; of answers to questions those of their start and of their end."""
    import transformers

    # The pipeline for tokens tells of each its likeliest label alone, and transformers 5 has none for answers.
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    made: Any = getattr(transformers, f"AutoModelFor{model}").from_pretrained(folder).eval()
    found = []
    for row in zip(texts, *([] if pairs is None else [pairs]), strict=True):
        output = made(**tokenizer(*row, truncation=truncation, return_tensors="pt"))
        if "logits" in output:
            found.append(output.logits[0].tolist())
        else:
            ends = (output.start_logits[0].tolist(), output.end_logits[0].tolist())
            found.append(list(map(list, zip(*ends, strict=True))))
    return found


if __name__ == "__main__":
    question, target = map(Path, sys.argv[1:])
    target.write_text(json.dumps(answer(**json.loads(question.read_text(encoding="utf-8")))), encoding="utf-8")
