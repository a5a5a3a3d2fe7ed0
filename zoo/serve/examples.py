"""Texts to try a run on: its own, as far as they are at hand.

In comes a finished run; out come a few short texts of its test split, the best examples of what it tells first. The
data of a run may have gone or changed; then out come texts of ours, or for pairs none.
"""

from __future__ import annotations

import contextlib

from zoo.errors import ZooError
from zoo.runs.run import Run
from zoo.runs.tested import tested_split

MOST = 6
LONGEST = 400
"""Characters: a longer text is no example to begin with."""
OURS = (
    "A truly great film.",
    "I wanted to like it, but it was far too long and never funny.",
    "The acting is fine; the story is not.",
)


def examples(run: Run, *, pairs: bool) -> list[dict[str, str]]:
    """Each `{"text": ...}`, or `{"text": ..., "pair": ...}` where the run was trained on pairs; at most 6."""
    texts: dict[str, dict[str, str]] = {}
    with contextlib.suppress(ZooError):  # the data are not at hand any more, and prediction needs none
        test = tested_split(run.folder)
        seconds = test.pairs if test.pairs is not None else [""] * len(test)
        texts = {
            key: {"text": text, "pair": pair} if pairs else {"text": text}
            for key, text, pair in zip(test.ids, test.texts, seconds, strict=True)
            if len(text) + len(pair) <= LONGEST
        }
    rows = [row for row in run.folder.predictions if row["id"] in texts]
    turns = [rows[place] for place in run.task.showcase(run.task.of_rows(rows)[1])] if rows else []
    if not turns and not pairs:
        return [{"text": text} for text in OURS]
    return [texts[row["id"]] for row in turns[:MOST]]
