"""benchmarks/peers/hf_ways.py: the quickest way of transformers on an accelerator, by trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.peers import hf_ways

# Raised by torch itself, when its compiler is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]


def nano() -> Any:
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    return BertForSequenceClassification(BertConfig(vocab_size=50, **sizes)).eval()


def times(*seconds: float) -> Callable[[], tuple[float, float]]:
    """A first step of ten times as long as each of the others."""
    given = iter(seconds)
    return lambda: (10 * (value := next(given)), value)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """torch.compile by its tracer alone, as there may be no compiler here; how often it made a program."""
    made: list[int] = []
    real = torch.compile

    def traced(graph: Any, _: Any) -> Any:
        made.append(1)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: real(function, dynamic=dynamic, backend=traced))
    return made


def test_compiled_layers_are_one_program_for_all_lengths(compilations: list[int]) -> None:
    model = nano()
    batches = [torch.ones(2, length, dtype=torch.long) for length in (7, 12)]
    expected = [model(batch).logits for batch in batches]
    found = hf_ways.quickest(model, "float32", times(0.2, 0.1))
    assert found.told() == {"way": "sdpa, layers compiled", "tried": {"sdpa": 0.2, "sdpa, layers compiled": 0.1}}
    assert found.first_seconds == 1.0
    for batch, logits in zip(batches, expected, strict=True):
        torch.testing.assert_close(model(batch).logits, logits)
    assert len(compilations) == 1


def test_what_is_slower_is_taken_back(compilations: list[int]) -> None:
    model = nano()
    found = hf_ways.quickest(model, "float32", times(0.1, 0.2))
    assert (found.chosen, found.first_seconds) == (("sdpa",), 1.0)
    model(torch.ones(2, 7, dtype=torch.long))
    assert not compilations


def test_what_fails_is_told_and_left(monkeypatch: pytest.MonkeyPatch, compilations: list[int]) -> None:
    """flash_attn that is installed and does not run here."""
    monkeypatch.setattr(hf_ways, "is_flash_attn_2_available", lambda: True)
    switched: list[str] = []
    model = nano()
    monkeypatch.setattr(model, "set_attn_implementation", switched.append)
    given: Any = iter([(1.0, 0.3), RuntimeError("no kernel image\nfor this device"), (1.0, 0.4)])

    def timed() -> tuple[float, float]:
        if isinstance(answer := next(given), Exception):
            raise answer
        return answer

    found = hf_ways.quickest(model, "bfloat16", timed)
    assert found.tried["flash_attention_2"] == "RuntimeError: no kernel image"
    assert switched == ["flash_attention_2", "sdpa"]
    assert found.chosen == ("sdpa",)
