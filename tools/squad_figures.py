"""Makes tests/golden/squad-figures.json: what transformers' copy of SQuAD's official script says of answers.

    python tools/squad_figures.py              # random answers
    python tools/squad_figures.py RUN          # and those of a finished run with task: span

It asks for transformers 4 in an environment of its own (`pip install "transformers<5" numpy`), as later ones have the
script no longer. The random answers are of few words, so that they match in all ways: in part, but for articles,
punctuation and letters, or not at all; some questions have no answer.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "squad-figures.json"
WORDS = ["the", "a", "an", "The", "Mill", "mill", "river", "river,", "Café", "old", "1,902", "(north)", "—", "n't", "ǅ"]
QUESTIONS = 120
THRESHOLD = 0.5
"""Preferences above it are for no answer."""


def random_rows(seed: int, unanswerable: float) -> list[dict[str, Any]]:
    """Questions with right answers, a predicted one, and how much rather there is none."""
    draw = random.Random(seed)

    def answer(least: int) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(least, 4)))

    rows = []
    for _ in range(QUESTIONS):
        right = [] if draw.random() < unanswerable else [answer(1) for _ in range(draw.randint(1, 3))]
        given = draw.choice(right) if right and draw.random() < 0.3 else answer(1)
        doubt = 3 if not right else -3 if given in right else 0
        rows.append({"right": right, "predicted": given, "preference": round(draw.uniform(-6, 6) + doubt, 6)})
    return rows


def run_rows(run: Path) -> list[dict[str, Any]]:
    """The test questions of a run, with the answers that it would give if it had to."""
    rows = map(json.loads, (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines())
    return [
        {
            "right": row["label"],
            "predicted": row["answers"][0]["text"] if row["answers"] else "",
            "preference": row["no_answer_score"] - row["answers"][0]["score"] if row["answers"] else 0.0,
        }
        for row in rows
    ]


def figures(rows: list[dict[str, Any]], threshold: float) -> dict[str, float]:
    """What the script says: shares in percent, and the best thresholds."""
    from transformers.data.metrics.squad_metrics import squad_evaluate

    examples = [
        SimpleNamespace(qas_id=str(place), answers=[{"text": text} for text in row["right"]])
        for place, row in enumerate(rows)
    ]
    predicted = {str(place): row["predicted"] for place, row in enumerate(rows)}
    preferences = {str(place): row["preference"] for place, row in enumerate(rows)}
    return dict(squad_evaluate(examples, predicted, preferences, threshold))


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="a run folder, whose answers are taken too")
    asked = parser.parse_args()
    cases: dict[str, list[dict[str, Any]]] = {
        "answerable": random_rows(0, 0.0),
        "mixed": random_rows(1, 0.4),
        "unanswerable": random_rows(2, 1.0),
    }
    kept = json.loads(OUT.read_text(encoding="utf-8")) if OUT.is_file() else {}
    if asked.run is not None:
        cases["run"] = run_rows(asked.run)
    elif "run" in kept:
        cases["run"] = kept["run"]["rows"]
    parts = []
    for name, rows in cases.items():
        head = json.dumps({"threshold": THRESHOLD, "figures": figures(rows, THRESHOLD)})[:-1]
        told = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        parts.append(f'{json.dumps(name)}: {head}, "rows": [\n{told}\n]}}')
    OUT.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
