"""The page of zoo.serve in a real browser, headless: what a person does there and sees."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serving_stand_in
import uvicorn
from chromium import chromium
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from serving_stand_in import NAMES, StandIn, good_share, weigh

from zoo.serve.__main__ import listening
from zoo.serve.serving import create_app

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
HOSTILE = "<script>document.title='owned'</script> 😀 for $5 & $\\frac{ <b>bold</b>"
EXAMPLE = "An example </script><script>document.title='owned'</script> of a text"


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    with chromium(900, 1100) as driver:
        yield driver


@pytest.fixture
def address() -> Iterator[Callable[..., str]]:
    """A function from what create_app takes to the address of its server."""
    servers: list[tuple[Any, threading.Thread, Any]] = []

    def serving(**arguments: Any) -> str:
        context = listening("127.0.0.1", 0)
        listener = context.__enter__()
        app = create_app(StandIn(), **arguments)  # type: ignore[arg-type]
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        servers.append((server, thread, context))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield serving
    for server, thread, context in servers:
        server.should_exit = True
        thread.join(30)
        context.__exit__(None, None, None)


def shown(browser: webdriver.Chrome, identity: str) -> str:
    return browser.find_element(By.ID, identity).text


def visible(browser: webdriver.Chrome, identity: str) -> None:
    WebDriverWait(browser, 20).until(lambda b: b.find_element(By.ID, identity).is_displayed())


def complaints(browser: webdriver.Chrome) -> list[Any]:
    return browser.get_log("browser")


def test_type_a_review_and_see_the_label(
    browser: webdriver.Chrome, address: Callable[..., str], tmp_path: Path
) -> None:
    place = address(explain=weigh, examples=[{"text": EXAMPLE}])
    browser.get(place)
    browser.find_element(By.ID, "text").send_keys("a good film, truly great")
    browser.find_element(By.ID, "go").click()
    visible(browser, "why")
    good = good_share("a good film, truly great")
    label = NAMES[good > 0.5]
    assert shown(browser, "label") == label
    rows = browser.find_elements(By.CSS_SELECTOR, "#bars li")
    assert [row.text.split("\n") for row in rows] == [
        [name, f"{100 * share:.1f}%"]
        for name, share in sorted(zip(NAMES, (1 - good, good), strict=True), key=lambda row: -row[1])
    ]
    track, fill = (rows[0].find_element(By.CLASS_NAME, name).size["width"] for name in ("track", "fill"))
    assert fill / track == pytest.approx(max(good, 1 - good), abs=0.02)
    words = browser.find_elements(By.CSS_SELECTOR, "#words span")
    assert [word.text for word in words] == ["a", "good", "film,", "truly", "great"]
    colours = [word.value_of_css_property("background-color") for word in words]
    assert colours[1].startswith("rgba(9, 105, 218")  # speaks for the class
    assert colours[2].startswith("rgba(219, 109, 0")  # and against it
    assert shown(browser, "class") == label
    assert browser.save_screenshot(str(tmp_path / "page.png"))
    assert complaints(browser) == []


def test_a_real_run(browser: webdriver.Chrome, tmp_path: Path) -> None:
    environment = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)}
    out = str(tmp_path / "first")
    train = [sys.executable, "-m", "zoo.run", "quickstart", "--profile", "smoke", "--out", out]
    subprocess.run(train, env=environment, cwd=ROOT, check=True, capture_output=True)
    serve = [sys.executable, "-m", "zoo.serve", out, "--port", "0"]
    with subprocess.Popen(serve, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE) as server:
        assert server.stdout
        browser.get(server.stdout.readline().strip())
        browser.find_element(By.ID, "text").send_keys("A truly great film.")
        browser.find_element(By.ID, "go").click()
        visible(browser, "answer")
        assert shown(browser, "label") in ("negative", "positive")
        shares = [row.text.split("\n") for row in browser.find_elements(By.CSS_SELECTOR, "#bars li")]
        assert sorted(name for name, _ in shares) == ["negative", "positive"]
        assert sum(float(share.rstrip("%")) for _, share in shares) == pytest.approx(100, abs=0.2)
        assert len(browser.find_elements(By.CSS_SELECTOR, "#examples button")) == 6
        assert complaints(browser) == []
        server.terminate()
    assert server.returncode == 143


def test_hostile_text_is_text(browser: webdriver.Chrome, address: Callable[..., str]) -> None:
    browser.get(address(explain=weigh, examples=[{"text": EXAMPLE}]))
    title = browser.title
    # send_keys takes no character beyond the first plane.
    browser.execute_script("document.getElementById('text').value = arguments[0]", HOSTILE)
    browser.find_element(By.ID, "go").click()
    visible(browser, "why")
    assert shown(browser, "words") == HOSTILE
    assert [word.text for word in browser.find_elements(By.CSS_SELECTOR, "#words span")] == HOSTILE.split(" ")
    (example,) = browser.find_elements(By.CSS_SELECTOR, "#examples button")
    assert example.get_attribute("title") == EXAMPLE
    example.click()
    WebDriverWait(browser, 20).until(lambda b: shown(b, "words") == EXAMPLE)
    assert browser.find_element(By.ID, "text").get_attribute("value") == EXAMPLE
    assert browser.title == title
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 2
    assert complaints(browser) == []


def test_nothing_is_asked_of_anybody_else(browser: webdriver.Chrome, address: Callable[..., str]) -> None:
    browser.get_log("performance")
    place = address(explain=weigh)
    browser.get(place)
    browser.find_element(By.ID, "text").send_keys("a good film")
    browser.find_element(By.ID, "go").click()
    visible(browser, "why")
    sent = [line["message"] for line in browser.get_log("performance") if "requestWillBeSent" in line["message"]]
    asked = [line.partition('"url":"')[2].partition('"')[0] for line in sent]
    asked = [url for url in asked if not url.startswith("data:")]
    assert {url.removeprefix(place) for url in asked} <= {"", "predict", "explain"}
    assert len(asked) >= 3


def test_what_goes_wrong_is_said(browser: webdriver.Chrome, address: Callable[..., str]) -> None:
    browser.get(address())
    browser.find_element(By.ID, "go").click()
    assert shown(browser, "error") == "Type a text first."
    browser.find_element(By.ID, "text").send_keys("refuse me")
    browser.find_element(By.ID, "go").click()
    WebDriverWait(browser, 20).until(lambda b: shown(b, "error") == "a text is at fault")
    assert not browser.find_element(By.ID, "answer").is_displayed()
    (complaint,) = complaints(browser)  # Chromium notes every answer of 4xx
    assert "422" in complaint["message"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser: webdriver.Chrome, address: Callable[..., str], scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(address())
    back = browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
    assert back == {"light": "rgba(255, 255, 255, 1)", "dark": "rgba(17, 21, 26, 1)"}[scheme]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_many_classes(browser: webdriver.Chrome, address: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"class {number}" for number in range(12))
    monkeypatch.setattr(serving_stand_in, "NAMES", names)
    monkeypatch.setattr(StandIn, "values", lambda self, texts, *_, **__: np.array([range(12)] * len(texts)) / 66)
    browser.get(address())
    browser.find_element(By.ID, "text").send_keys("a text")
    browser.find_element(By.ID, "go").click()
    visible(browser, "answer")
    rows = [row.text.split("\n")[0] for row in browser.find_elements(By.CSS_SELECTOR, "#bars li")]
    assert rows == [*reversed(names[2:]), "and 2 less likely"]
    assert "sort texts into 12 classes" in browser.find_element(By.TAG_NAME, "body").text


def test_pairs(browser: webdriver.Chrome, address: Callable[..., str]) -> None:
    browser.get(address(explain=weigh, pairs=True))
    browser.find_element(By.ID, "text").send_keys("one text")
    browser.find_element(By.ID, "go").click()
    assert shown(browser, "error") == "Both texts are needed."
    browser.find_element(By.ID, "pair").send_keys("and another one")
    browser.find_element(By.ID, "go").click()
    visible(browser, "why")
    blocks = browser.find_elements(By.CSS_SELECTOR, "#words .coloured")
    assert [block.text for block in blocks] == ["one text", "and another one"]
    assert [len(block.find_elements(By.TAG_NAME, "span")) for block in blocks] == [2, 3]
    assert complaints(browser) == []
