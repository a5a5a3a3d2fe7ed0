"""PyTorch: eager steps, and torch's own fused AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from keras import ops
from torch.optim.adamw import adamw

from zoo.backend.base import AdamWStep, Backend, Inputs, Loss, Trainer


class Torch(Backend):
    name = "torch"

    def device(self) -> str:
        if torch.cuda.is_available():
            return "gpu: " + torch.cuda.get_device_name(0)
        return "gpu: Apple Metal" if torch.backends.mps.is_available() else "cpu"

    def peak_device_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None

    def trainer(self, model: Any, optimizer: Any, loss: Loss) -> Trainer:
        return _TorchTrainer(model, optimizer, loss)

    def predictor(self, model: Any) -> Callable[[Inputs], Any]:
        def forward(inputs: Inputs) -> Any:
            with torch.no_grad():
                return model(_tensors(inputs), training=False)

        return forward


def _tensors(inputs: Inputs) -> dict[str, Any]:
    return {name: ops.convert_to_tensor(value) for name, value in inputs.items()}


class _TorchTrainer(Trainer):
    """Draws a step's dropout from the model's seed and the step's number: a run can be repeated, and resumed.

    On torch a Keras layer that was not given a seed of its own takes torch's global generator, whose state lies in
    no variable of the model.
    """

    def __init__(self, model: Any, optimizer: Any, loss: Loss) -> None:
        self._model, self._optimizer, self._loss = model, optimizer, loss
        seeds = [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]
        self._seed = int(seeds[0].value[0]) if seeds else 0
        self._steps = int(optimizer.iterations.value)

    def step(self, inputs: Inputs, labels: Any, weights: Any) -> tuple[Any, Any]:
        variables = self._model.trainable_variables
        torch.manual_seed(int(np.random.SeedSequence([self._seed, self._steps]).generate_state(1)[0]))
        self._steps += 1
        logits = self._model(_tensors(inputs), training=True)
        value = self._loss(logits, ops.convert_to_tensor(labels), ops.convert_to_tensor(weights))
        value.backward()
        with torch.no_grad():
            self._optimizer.apply([v.value.grad for v in variables], variables)
        for variable in variables:
            variable.value.grad = None
        return value.detach(), logits.detach()


def fused_adamw(
    gradients: list[Any],
    values: list[Any],
    first: list[Any],
    second: list[Any],
    factors: list[float],
    decays: list[float],
    numbers: AdamWStep,
) -> None:
    """One AdamW step by torch's fused kernel, a call for each pair of factor and decay; see zoo.backend.fused_adamw."""
    if numbers.clip_norm is not None:
        # clip_grad_norm_ without its parameters: their .grad is what stands in `gradients`.
        norm = torch.nn.utils.get_total_norm(gradients)
        torch._foreach_mul_(gradients, torch.clamp(numbers.clip_norm / (norm + 1e-6), max=1.0))
    groups: dict[tuple[float, float], list[int]] = {}
    for index, key in enumerate(zip(factors, decays, strict=True)):
        groups.setdefault(key, []).append(index)
    for (factor, decay), members in groups.items():
        adamw(
            params=[values[i] for i in members],
            grads=[gradients[i] for i in members],
            exp_avgs=[first[i] for i in members],
            exp_avg_sqs=[second[i] for i in members],
            max_exp_avg_sqs=[],
            state_steps=[torch.tensor(float(numbers.step) - 1.0, device=values[i].device) for i in members],
            fused=True,
            amsgrad=False,
            maximize=False,
            beta1=numbers.beta_1,
            beta2=numbers.beta_2,
            lr=float(numbers.rate) * factor,
            weight_decay=decay,
            eps=numbers.epsilon,
        )


BACKEND = Torch()
