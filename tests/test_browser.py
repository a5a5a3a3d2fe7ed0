"""The pages of real runs in headless Chromium: no error, no request, every picture there, texts shown as texts.

It wants `chromium` and `chromedriver` on the PATH, as Debian's packages put them there. Where they are missing these
tests fail. With ZOO_TEST_SCREENSHOTS set to a folder they leave pictures of the whole pages there, in light and dark.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chromium import chromium
from selenium import webdriver
from selenium.webdriver.common.by import By

from zoo.report.drawing import DPI

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
HOSTILE = "<script>alert(1)</script> & <img src=x onerror=alert(2)> for $5 $\\frac{"
CLASSES = ["<script>alert(1)</script>", "$\\frac{", "a class with a name that is longer than any place for it"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two finished runs that differ in seed and epochs, on test rows that are all hostile and often wrong."""
    folder = tmp_path_factory.mktemp("runs")
    lines = [{"text": f"{HOSTILE} number {n}", "label": CLASSES[n % 3]} for n in range(90)]
    for name, rows in (("train", lines[:60]), ("test", lines[60:])):
        text = "\n".join(json.dumps(row) for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    nano = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "vocabulary": "nano_uncased"}
    recipe = {
        "name": "hostile",
        "data": {"files": {"train": "train.jsonl", "test": "test.jsonl"}},
        "tokens": {"max_length": 32},
        "model": {"backbone": {"family": "bert", **nano}},
        "training": {"epochs": 2, "batch_size": 8, "log_every": 2},
    }
    (folder / "hostile.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    for name, changes in (("first", ["seed=0"]), ("second", ["seed=1", "training.epochs=3"])):
        options = [word for change in changes for word in ("--set", change)]
        called("zoo.run", folder / "hostile.yaml", "--out", folder / name, *options)
    return folder / "first", folder / "second"


@pytest.fixture(scope="module")
def compared(runs: tuple[Path, Path]) -> Path:
    """compare.html of the two runs."""
    called("zoo.report", *runs, "--out", runs[0].parent / "compared")
    return runs[0].parent / "compared" / "compare.html"


def called(module: str, *words: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        env=os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with chromium(1100, 900) as driver:
        yield driver


def visit(browser: webdriver.Chrome, path: Path) -> list[str]:
    """Open a page; what is wrong with it: console messages, requests that leave it, pictures that are not there."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what an earlier page left
    browser.get(path.as_uri())
    faults = [f"console: {entry['message']}" for entry in browser.get_log("browser")]
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    assert path.as_uri() in asked, "requests are seen"
    faults += [f"request: {url[:80]}" for url in asked if url != path.as_uri() and not url.startswith("data:")]
    pictures: list[dict[str, Any]] = browser.execute_script(
        "return [...document.images].map(i => ({alt: i.alt, there: i.complete && i.naturalWidth > 0}))"
    )
    return faults + [f"no picture: {picture['alt']}" for picture in pictures if not picture["there"]]


def look(browser: webdriver.Chrome, scheme: str, name: str) -> str:
    """Switch to the colour scheme, keep a picture of the whole page where that is wanted; the colour behind it.

    Every chart has the same colour at its corner, and is as wide as the others where there is room for two.
    """
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    if folder := os.environ.get("ZOO_TEST_SCREENSHOTS"):
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (Path(folder) / f"{name}-{scheme}.png").write_bytes(base64.b64decode(shot["data"]))
    colour: str = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    corners: list[str] = browser.execute_async_script(CORNERS)
    assert {*corners} == {colour}
    widths = browser.execute_script(
        "return [...document.querySelectorAll('figure:not(.broad) img')].map(i => Math.round(i.clientWidth))"
    )
    assert len({*widths}) == 1
    return colour


CORNERS = """
const done = arguments[0];
const corner = image => {
  const canvas = document.createElement("canvas"), paper = canvas.getContext("2d");
  canvas.width = canvas.height = 1;
  paper.drawImage(image, 0, 0);
  const [red, green, blue] = paper.getImageData(0, 0, 1, 1).data;
  return `rgb(${red}, ${green}, ${blue})`;
};
// Two frames on, the pictures of the scheme have been chosen.
requestAnimationFrame(() => requestAnimationFrame(async () => {
  const images = [...document.images];
  await Promise.all(images.map(image => image.decode()));
  done(images.map(corner));
}));"""


def on_a_phone(browser: webdriver.Chrome) -> None:
    """The page at 390 pixels: nothing is cut off, and letters in charts are 8 pixels high or more."""
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert not too_wide(browser)
        drawn: list[list[float]] = browser.execute_script(
            "return [...document.images].map(i => [i.clientWidth, i.naturalWidth])"
        )
        # The smallest are those of bars, of 8 points.
        assert min(8 / 72 * DPI * width / natural for width, natural in drawn) > 7.5
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def shown(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def too_wide(browser: webdriver.Chrome) -> bool:
    """Whether the page itself, and not a table within it, has to be scrolled sideways."""
    found: bool = browser.execute_script("return document.documentElement.scrollWidth > window.innerWidth")
    return found


def test_the_report_in_a_browser(browser: webdriver.Chrome, runs: tuple[Path, Path]) -> None:
    assert visit(browser, runs[0] / "report.html") == []
    assert HOSTILE in shown(browser)
    assert all(name in shown(browser) for name in CLASSES)
    assert len(browser.find_elements(By.TAG_NAME, "img")) == 8
    assert browser.find_elements(By.TAG_NAME, "script") == []
    assert not too_wide(browser)
    assert look(browser, "light", "report") == "rgb(255, 255, 255)"
    assert look(browser, "dark", "report") == "rgb(17, 21, 26)"
    on_a_phone(browser)


def test_the_comparison_in_a_browser(browser: webdriver.Chrome, compared: Path) -> None:
    assert visit(browser, compared) == []
    text = shown(browser)
    assert all(part in text for part in ("1: first", "2: second", "training.epochs", "only A"))
    assert len(browser.find_elements(By.TAG_NAME, "img")) == 3
    assert not too_wide(browser)
    assert look(browser, "light", "compare") == "rgb(255, 255, 255)"
    assert look(browser, "dark", "compare") == "rgb(17, 21, 26)"
    on_a_phone(browser)


def test_a_bad_page_is_noticed(browser: webdriver.Chrome, runs: tuple[Path, Path], tmp_path: Path) -> None:
    """The same page, with what it may not have: once held back by its own policy, once without one."""
    good = (runs[0] / "report.html").read_text(encoding="utf-8")
    bad = good.replace("<h1>", '<img src="picture.png" alt="gone"><script>console.error("ran")</script><h1>', 1)
    (tmp_path / "held.html").write_text(bad, encoding="utf-8")
    held = visit(browser, tmp_path / "held.html")
    assert "no picture: gone" in held
    assert any("Content Security Policy" in fault for fault in held)
    assert not any("ran" in fault.split('"') for fault in held)
    (tmp_path / "free.html").write_text(bad.replace("Content-Security-Policy", "nothing"), encoding="utf-8")
    free = visit(browser, tmp_path / "free.html")
    assert f"request: {(tmp_path / 'picture.png').as_uri()}"[:89] in free
    assert any('"ran"' in fault for fault in free)


def test_the_report_can_be_printed(browser: webdriver.Chrome, runs: tuple[Path, Path]) -> None:
    visit(browser, runs[0] / "report.html")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
