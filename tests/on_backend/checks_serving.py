"""Checks of the server's batches, on the backend of this process: its model lives in another thread."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import uvicorn
from nano import nano_recipe

import zoo
from zoo.data.backbones import locate_vocabulary
from zoo.data.tokens import load_tokenizer
from zoo.finished import Run
from zoo.models import inference
from zoo.models.blueprint import ModelCard
from zoo.models.builder import plan
from zoo.models.saved import save_model
from zoo.recipe import dump_recipe
from zoo.runs.run_folder import create_run
from zoo.serve.__main__ import listening
from zoo.serve.serving import create_app
from zoo.tasks.classification import Classification

pytestmark = pytest.mark.usefixtures("backend")

REQUESTS = 200
WORDS = ["good", "bad", "film", "great", "story", "acting", "dull", "long", "truly", "never", "the", "of", "it"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An untrained run whose weights are large, so that texts differ in their probabilities."""
    recipe = nano_recipe()
    model = zoo.build(recipe)
    for variable in model.trainable_variables:
        if "kernel" in variable.path:
            variable.assign(inference.to_host(variable) * 20)
    tokenizer = load_tokenizer(locate_vocabulary(recipe.model.backbone))
    card = ModelCard(
        blueprint=plan(recipe, preset=None, tokenizer=tokenizer, task=Classification(names=("no", "yes"))),
        tokens=recipe.tokens,
        task=Classification(names=("negative", "positive")),
    )
    path = tmp_path_factory.mktemp("runs") / "nano"
    with create_run(path, dump_recipe(recipe)) as folder:
        save_model(folder.path / "model", model, card, tokenizer)
    return zoo.load_run(path)


@pytest.fixture
def port(run: Run) -> Iterator[int]:
    """Of a server that listens on this machine, in a thread."""
    with listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(run, batch_size=16), log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def ask(port: int, texts: Sequence[str]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", "/predict", json.dumps({"texts": texts}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def alone(run: Run, requests: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """What the run says of each text by itself."""
    model = zoo.load_run(run.path)
    return [np.concatenate([model.probabilities([text], batch_size=1) for text in texts]) for texts in requests]


def difference(run: Run, answers: Sequence[tuple[int, Any]], expected: Sequence[np.ndarray]) -> float:
    """How far the answers are from the expected ones."""
    names = run.task.names
    found = [[[row["probabilities"][name] for name in names] for row in answer["predictions"]] for _, answer in answers]
    return max(float(np.abs(np.array(a) - b).max()) for a, b in zip(found, expected, strict=True))


class TestServing:
    def test_200_at_once_lose_none_and_each_gets_its_own(self, run: Run, port: int) -> None:
        random = np.random.Generator(np.random.PCG64(0))
        requests = [
            [" ".join(random.choice(WORDS, random.integers(1, 40))) for _ in range(random.integers(1, 4))]
            for _ in range(REQUESTS)
        ]
        barrier = threading.Barrier(REQUESTS)

        def at_once(texts: Sequence[str]) -> tuple[int, Any]:
            barrier.wait(60)
            return ask(port, texts)

        with ThreadPoolExecutor(REQUESTS) as pool:
            answers = list(pool.map(at_once, requests))
        assert [status for status, _ in answers] == [200] * REQUESTS
        expected = alone(run, requests)
        assert difference(run, answers, expected) < 1e-5
        # So that the comparison can fail: with the answers of others it does.
        sizes = [len(texts) for texts in requests]
        same = next(other for other in range(1, REQUESTS) if sizes[other] == sizes[0])
        swapped = [answers[same], *answers[1:same], answers[0], *answers[same + 1 :]]
        assert difference(run, swapped, expected) > 1e-3

    def test_a_text_that_is_not_unicode_costs_the_others_nothing(self, run: Run, port: int) -> None:
        status, answer = ask(port, ["half of a character: \ud800"])
        assert status == 422
        assert "a lone surrogate" in answer["error"]
        assert ask(port, ["a good film"])[0] == 200
