"""The folder of an explanation: pictures, explain.html and explanation.json.

In comes an `Explanation`; out come its files. The page is one file that loads nothing from anywhere: pictures are
inside it, there is no script, texts are escaped. A picture that cannot be drawn becomes a warning. Refused, as
OutputError: a folder that cannot be written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from zoo.data.writing import storage_errors, write_atomically
from zoo.explain import plots
from zoo.explain.colouring import behind, pieces
from zoo.explain.explanation import Explanation
from zoo.recipe.showing import shown
from zoo.report import pages
from zoo.report.drawing import Chart, Drawn, draw_each
from zoo.runs.run_folder import UNENCODABLE

__all__ = ["free_folder", "write"]

ROWS = 20
CLASSES = 20
CAPTIONS = {
    "importance": "The words that count most, in the order of the text",
    "deletion": "What the model says as words are taken out, those first that speak most for the class; less is better",
    "attention": "Attention of one head, or the mean of a layer's heads: which token (row) looks at which (column)",
    "heads": "Attention of all heads; layers and heads are counted from 0",
    "overview": "How widely and how far each head looks",
    "rollout": "Attention rollout: from which tokens the first position, which decides the class, is made",
}


def free_folder(run: Path) -> Path:
    """The next folder of a run for an explanation: explain/1, explain/2 and so on."""
    taken = [int(path.name) for path in (run / "explain").glob("*") if path.name.isdecimal()]
    return run / "explain" / str(max(taken, default=0) + 1)


def write(
    folder: Path, explanation: Explanation, *, run: str, layer: int | None = None, head: int | None = None
) -> tuple[str, ...]:
    """Write all files of an explanation, over those of an earlier one, and return its warnings.

    Args:
        folder: made where it is not there.
        explanation: what to show.
        run: the run, as the page names it.
        layer, head: of the attention that is drawn large; see `Explanation.head`.
    """
    drawings: dict[str, Callable[[], Chart]] = {
        "importance": lambda: plots.importance(explanation),
        "deletion": lambda: plots.deletion(explanation),
        "overview": lambda: plots.overview(explanation),
        "heads": lambda: plots.heads(explanation),
        "attention": lambda: plots.attention(explanation, layer, head),
        "rollout": lambda: plots.rollout(explanation),
    }
    charts, failed = draw_each(drawings)
    warnings = [*explanation.warnings, *failed]
    html = _page(explanation, charts, warnings, run)
    files = {f"{name}.png": chart.light for name, chart in charts.items()}
    files["explanation.json"] = (json.dumps(explanation.as_json(), ensure_ascii=False, indent=2) + "\n").encode(
        errors=UNENCODABLE
    )
    files["explain.html"] = html.encode(errors=UNENCODABLE)
    with storage_errors(folder):
        for name, content in files.items():
            with write_atomically(folder / name) as stream:
                stream.write(content)
    return tuple(warnings)


def _page(explanation: Explanation, charts: dict[str, Drawn], warnings: list[str], run: str) -> str:
    words = zip(explanation.names, explanation.gradients.words, explanation.occlusion.words, strict=True)
    return pages.html(
        "explain.html.j2",
        run=run,
        behind=behind,
        explanation=explanation,
        likeliest=explanation.likeliest(CLASSES),
        readings=[
            (
                title,
                [
                    [(shown(part, lines=True), *score) for part, *score in pieces(text, attribution.words, of)]
                    for of, text in explanation.texts
                ],
            )
            for title, attribution in (
                ("by integrated gradients", explanation.gradients),
                ("by occlusion", explanation.occlusion),
            )
        ],
        rows=sorted(words, key=lambda row: -abs(row[1].score))[:ROWS],
        warnings=warnings,
        charts=[(CAPTIONS[name], chart) for name, chart in charts.items()],
        methods=plots.METHOD_NAMES,
    )
