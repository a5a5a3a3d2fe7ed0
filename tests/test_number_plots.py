"""Pictures of predicted numbers: drawn of any finite numbers, however many and however far apart."""

from __future__ import annotations

import io
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from pages_read import size

from zoo.report import number_plots

HOSTILE = "$\\frac{ 日本語\n<b> and a name that is far longer than any picture has room for"
RANDOM = np.random.default_rng(4)
TRUE = RANDOM.normal(3.0, 1.0, 300)
MANY = RANDOM.normal(size=number_plots.MOST_POINTS + 1)
CASES = {
    "usual": (TRUE, TRUE + RANDOM.normal(size=300)),
    "same targets": (np.full(300, 3.0), TRUE),
    "same values": (TRUE, np.full(300, 3.0)),
    "all the same": ([2.0, 2.0], [2.0, 2.0]),
    "one row": ([0.0], [0.0]),
    "hardly apart": ([1.0, float(np.nextafter(1.0, 2.0))], [1.0, 1.0]),
    "one far off": (TRUE, np.where(np.arange(300) == 7, 1e12, TRUE)),
    "many": (MANY, 0.5 * MANY),
    "many and the same": (np.zeros_like(MANY), np.zeros_like(MANY)),
}


@pytest.mark.parametrize("case", CASES)
def test_every_case_is_drawn(case: str) -> None:
    # The suite turns warnings into errors.
    targets, values = CASES[case]
    charts = [draw(targets, values, HOSTILE) for draw in (number_plots.predicted_by_true, number_plots.residuals)]
    for png in [chart.png() for chart in (*charts, number_plots.histogram(values, HOSTILE))]:
        assert 300 < min(size(png)) < max(size(png)) < 1500
        assert pixels(png).std() > 0.05


def test_other_numbers_give_another_picture() -> None:
    first, second = CASES["usual"], CASES["same values"]
    for draw in (number_plots.predicted_by_true, number_plots.residuals):
        png = draw(*first, "stars").png()
        assert png == draw(*first, "stars").png()
        assert png != draw(*second, "stars").png()
        assert png != draw(first[1], first[0], "stars").png()


@pytest.mark.parametrize(
    ("targets", "values", "message"),
    [
        ([], [], "no row to draw"),
        ([1.0, 2.0], [1.0], r"targets \[2\] and values \[1\]"),
        ([[1.0]], [[1.0]], r"expected both \[rows\]"),
        ([1.0], [np.nan], "not finite"),
    ],
)
def test_what_is_refused(targets: Any, values: Any, message: str) -> None:
    for draw in (number_plots.predicted_by_true, number_plots.residuals):
        with pytest.raises(ValueError, match=message):
            draw(targets, values, "stars")


def pixels(png: bytes) -> np.ndarray:
    """Height, width and colours, 0 to 1."""
    return np.asarray(matplotlib.image.imread(io.BytesIO(png)))[..., :3]
