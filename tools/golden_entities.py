"""Figures of seqeval on random tags, to tests/golden/entities.jsonl.

In comes seqeval 1.2.2; out goes a line a case: scheme, tags and figures. tests/test_entities.py holds
zoo/score/entities.py to them. seqeval is no dependency of the tests: its release of 2020 asks for a build that today's
setuptools_scm breaks. To run this, build it beside the environment:

    pip wheel --no-deps --no-build-isolation seqeval    # where setuptools and setuptools_scm are installed
    python tools/golden_entities.py seqeval-1.2.2-py3-none-any.whl
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parent.parent / "tests" / "golden" / "entities.jsonl"
LETTERS = {"iob2": "BI", "bioes": "BIES"}
TEXTS = 6
CASES = 12


def drawn(random: np.random.Generator, letters: str, types: int) -> list[str]:
    """Tags of a text of up to 12 words, in any order."""
    known = ["O", *(f"{letter}-{kind}" for letter in letters for kind in ("PER", "LOC", "A-B")[:types])]
    return [known[number] for number in random.integers(0, len(known), random.integers(1, 13))]


def likened(random: np.random.Generator, tags: list[str], others: list[str]) -> list[str]:
    """The tags with some of them replaced: random ones alone would hardly ever be right."""
    return [random.choice(others) if random.random() < 0.25 else tag for tag in tags]


def case(number: int) -> dict[str, Any]:
    """Tags of some texts, and what seqeval says of them."""
    from seqeval import metrics

    random = np.random.Generator(np.random.PCG64(number))
    scheme = ("iob2", "bioes")[number % 2]
    truth = [drawn(random, LETTERS[scheme], 1 + number % 3) for _ in range(TEXTS)]
    known = sorted({tag for tags in truth for tag in tags})
    found = [[str(tag) for tag in likened(random, tags, known)] for tags in truth]
    report = metrics.classification_report(truth, found, output_dict=True, zero_division=0)
    return {
        "scheme": scheme,
        "truth": truth,
        "found": found,
        "accuracy": metrics.accuracy_score(truth, found),
        "figures": {kind: [float(value) for value in row.values()] for kind, row in report.items()},
    }


def main(wheel: str) -> None:
    """Write the file."""
    sys.path.insert(0, wheel)
    warnings.simplefilter("ignore")
    FILE.write_text("".join(json.dumps(case(number)) + "\n" for number in range(CASES)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
