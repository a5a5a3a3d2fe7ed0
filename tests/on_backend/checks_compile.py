"""`training.compile`: a compiled step is the step, under the same masks of dropout."""

from __future__ import annotations

import numpy as np
import pytest
from nano import few_steps

import recipes
from zoo.backend import Backend
from zoo.errors import EnvironmentFault
from zoo.training.prepare import activated


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of what it does itself
def test_a_compiled_step_is_the_step(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend.name == "jax":
        assert backend.compiles() == (True,)
        with pytest.raises(EnvironmentFault, match=r"training\.compile: got off, but jax"):
            activated(recipes.load("quickstart", profile="smoke", overrides={"training.compile": "off"}))
        return
    assert backend.compiles()[0] is False
    expected = few_steps(backend, compiled=False)[0]
    assert expected[0] != expected[-1]
    np.testing.assert_allclose(few_steps(backend, compiled=True)[0], expected, atol=2e-6)
    if backend.name == "torch":
        from zoo.backend import transformer_torch

        before = transformer_torch._compiled.cache_info()
        assert before.currsize == 1, "both layers are one function"
        np.testing.assert_allclose(few_steps(backend, {"training.remat": True}, compiled=True)[0], expected, atol=2e-6)
        assert transformer_torch._compiled.cache_info().currsize == 1
