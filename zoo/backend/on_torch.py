"""PyTorch: eager steps, and torch's own fused AdamW."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from keras import ops
from torch.nn.parallel import DistributedDataParallel
from torch.optim.adamw import adamw

from zoo.backend.base import AdamWStep, Adversary, Backend, Inputs, Loss, Trainer, parts
from zoo.backend.peers import Peers
from zoo.backend.precision import Precision, precisions_of_nvidia
from zoo.backend.torch_peers import Processes, joined, take_device
from zoo.backend.transformer_torch import CudaKernels, TorchKernels, gradients_by_rows, layers_compiled
from zoo.errors import EnvironmentFault


class Torch(Backend):
    name = "torch"

    def __init__(self) -> None:
        take_device()

    def device(self) -> str:
        kind = _device().type
        if kind == "cuda":
            return "gpu: " + torch.cuda.get_device_name()
        return "gpu: Apple Metal" if kind == "mps" else "cpu"

    def precisions(self) -> tuple[Precision, ...]:
        if _device().type != "cuda" or torch.version.cuda is None:  # AMD's GPUs go by the name of CUDA too
            return super().precisions()
        return precisions_of_nvidia(torch.cuda.get_device_capability())

    @contextlib.contextmanager
    def multiplying(self, precision: Precision) -> Iterator[None]:
        """See `Backend.multiplying`; the switches are the process's own, and say afterwards what they said.

        They are read where a product is started. Two threads that compute in two precisions at once disturb each other.
        """
        # The other one is of CPUs, where oneDNN may take bfloat16 or TF32 for float32.
        switches = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
        before = [_own(switch) for switch in switches]
        try:
            for switch, wanted in zip(switches, ("tf32" if precision == "tf32" else "ieee", "ieee"), strict=True):
                switch.fp32_precision = wanted
            yield
        finally:
            for switch, own in zip(switches, before, strict=True):
                switch.fp32_precision = own

    def steps(self, compiled: bool) -> str:
        return "layers compiled by torch.compile" if compiled else "eager"

    def peak_device_bytes(self) -> int | None:
        return torch.cuda.max_memory_allocated() if _device().type == "cuda" else None

    def compiles_shapes(self, compiled: bool) -> bool:
        return compiled

    def compiles(self) -> tuple[bool, ...]:
        # On a CPU the C++ compiler that torch.compile calls takes half a minute for a layer, and what comes out was
        # slower than the eager step (docs/decisions/0007): no trial of seconds can be made of it.
        return (False, True) if self.accelerated else (False,)

    @property
    def peers(self) -> Peers:
        return joined()

    @property
    def _sharing(self) -> Processes | None:
        """The processes that share batches now; None where this one computes them alone."""
        peers = self.peers
        return peers if isinstance(peers, Processes) and peers.shares else None

    def refuse_devices(self, asked: int) -> None:
        count = self.peers.count
        if asked == count:
            return
        if count == 1:
            told = "but this is one process, which has one device"
            more = f"python -m zoo.run starts as many as it says; on several machines start torchrun, {asked} in all"
        else:
            told, more = f"and torchrun has started {count} processes", f"--devices {count}"
        raise EnvironmentFault(f"training.devices: got {asked}, {told}: use {more}")

    def trainer(
        self,
        model: Any,
        optimizer: Any,
        loss: Loss,
        *,
        precision: Precision,
        accumulate: int = 1,
        compiled: bool | None = None,
        adversary: Adversary | None = None,
        devices: int = 1,
    ) -> Trainer:
        given = (model, optimizer, loss, precision, accumulate, bool(compiled), adversary)
        sharing = self._sharing
        return _TorchTrainer(*given) if sharing is None else _SharedTrainer(sharing, *given)

    def predictor(self, model: Any, *, precision: Precision, devices: int = 1) -> Callable[[Inputs], Any]:
        @self.multiplying(precision)
        def forward(inputs: Inputs) -> Any:
            sharing = self._sharing
            with torch.no_grad():
                if sharing is None:
                    return model(_tensors(inputs), training=False)
                return sharing.together(model(_tensors(sharing.own(inputs)), training=False))

        return forward

    def gradient(self, model: Any, by: str) -> Callable[[Inputs, Any], Any]:
        @self.multiplying("float32")
        def backward(inputs: Inputs, weights: Any) -> Any:
            given = _tensors(inputs)
            value = given[by] = given[by].detach().requires_grad_()
            total = (model(given, training=False) * ops.convert_to_tensor(weights)).sum()
            (found,) = torch.autograd.grad(total, value)
            return found

        return backward

    def kernels(self) -> Any:
        if _device().type == "cuda" and importlib.util.find_spec("triton") is not None:
            return CudaKernels()
        return TorchKernels(on_cpu=not self.accelerated)

    def fused_adamw(self) -> Callable[[AdamWStep], None]:
        return FusedAdamW(on_cpu=not self.accelerated)

    def dense(self, gradient: Any) -> Any:
        # `TorchKernels.look_up` gives the gradient of an embedding as rows.
        return gradient.to_dense() if gradient.is_sparse else gradient


def _own(switch: Any) -> str:
    """What a switch of torch's says itself; `none` where it only passes on what a more general one says."""
    said: str = switch.fp32_precision
    switch.fp32_precision = "none"
    return "none" if switch.fp32_precision == said else said


def _tensors(inputs: Inputs) -> dict[str, Any]:
    return {name: _sent(value) for name, value in inputs.items()}


def _sent(value: Any) -> Any:
    """An array of the host on the device, without waiting for what the device computes."""
    if isinstance(value, np.ndarray) and _device().type == "cuda":
        # Only from memory that is pinned does a copy go on by itself.
        value = torch.from_numpy(value).pin_memory().to(_device(), non_blocking=True)
    return ops.convert_to_tensor(value)


@functools.cache
def _device() -> Any:
    """Where Keras puts its tensors, KERAS_TORCH_DEVICE or the first GPU."""
    return ops.zeros(()).device


class _TorchTrainer(Trainer):
    def __init__(
        self,
        model: Any,
        optimizer: Any,
        loss: Loss,
        precision: Precision,
        accumulate: int,
        compiled: bool,
        adversary: Adversary | None,
    ) -> None:
        self._model, self._optimizer, self._loss = model, optimizer, loss
        self._compiled, self._adversary = compiled, adversary
        self._precision, self._accumulate = precision, accumulate
        self._parameters = [variable.value for variable in model.trainable_variables]

    def step(self, inputs: Inputs, labels: Any, weights: Any) -> tuple[Any, Any]:
        with BACKEND.multiplying(self._precision):
            if self._accumulate == 1:
                value, _, logits = self._differentiated(inputs, labels, weights, mean=True)
            else:
                value, logits = self._accumulated(inputs, labels, weights)
        with torch.no_grad():
            gradients = [parameter.grad for parameter in self._parameters]
            norm = _norm([gradient._values() if gradient.is_sparse else gradient for gradient in gradients])
            value = torch.where(torch.isfinite(norm), value, torch.nan)
            self._optimizer.apply(gradients, self._model.trainable_variables)
        for parameter in self._parameters:
            parameter.grad = None
        return value, logits

    def _differentiated(self, inputs: Inputs, labels: Any, weights: Any, *, mean: bool) -> tuple[Any, Any, Any]:
        """The loss, the sum of weights and the logits; gradients of the loss, the mean or the sum of the rows', are
        added to the parameters'."""
        given, others = _tensors(inputs), (_sent(labels), _sent(weights), mean)
        if self._adversary is None:
            return self._pass(given, *others)
        moves = self._adversary.moves
        still = self._adversary.still(given).requires_grad_()
        found = self._pass({**given, moves: still}, *others)
        with torch.no_grad():
            moved = self._adversary.against(still.grad, given)
        self._pass({**given, moves: moved}, *others)
        return found

    def _pass(self, inputs: dict[str, Any], labels: Any, weights: Any, mean: bool) -> tuple[Any, Any, Any]:
        """Forward and backward, once; see `_differentiated`."""
        with gradients_by_rows(), layers_compiled(self._compiled):
            logits = self._model(inputs, training=True)
        total, count = self._loss(logits, labels, weights)
        value = total / count if mean else total
        value.backward()
        return value.detach(), count, logits.detach()

    def _accumulated(self, inputs: Inputs, labels: Any, weights: Any) -> tuple[Any, Any]:
        """Loss and logits of a batch that was computed in parts; gradients are those of its mean loss."""
        cut = zip(*(parts(arrays, self._accumulate) for arrays in (inputs, labels, weights)), strict=True)
        totals, counts, outputs = zip(*(self._differentiated(*part, mean=False) for part in cut), strict=True)
        count = sum(counts)
        for parameter in self._parameters:
            parameter.grad = parameter.grad / count
        return sum(totals) / count, torch.cat(outputs)


class _SharedTrainer(_TorchTrainer):
    """Each of several processes computes its rows of a batch, and all take the same step.

    Gradients are brought together by DistributedDataParallel, which gives their mean: each process's are of the loss of
    its rows by the weight of all, times the number of processes.
    """

    def __init__(self, peers: Processes, model: Any, *others: Any) -> None:
        super().__init__(model, *others)
        self._peers, self._passes = peers, 0
        self._passes_a_step = self._accumulate * (1 if self._adversary is None else 2)
        self._shared = DistributedDataParallel(model)
        brought = {id(parameter) for parameter in self._shared.parameters() if parameter.requires_grad}
        if brought != set(map(id, self._parameters)):
            raise RuntimeError("DistributedDataParallel does not see the weights that are trained")

    def step(self, inputs: Inputs, labels: Any, weights: Any) -> tuple[Any, Any]:
        own = (self._peers.own(arrays, self._accumulate) for arrays in (inputs, labels, weights))
        value, logits = super().step(*own)
        return value, self._peers.together(logits, self._accumulate)

    def _pass(self, inputs: dict[str, Any], labels: Any, weights: Any, mean: bool) -> tuple[Any, Any, Any]:
        self._passes += 1
        last = self._passes % self._passes_a_step == 0
        with contextlib.nullcontext() if last else self._shared.no_sync():
            with layers_compiled(self._compiled):
                logits = self._shared(inputs, training=True)
            total, count = self._loss(logits, labels, weights)
            whole, count = self._peers.summed(total.detach(), count)
            own = total / count if mean else total
            (own * self._peers.count).backward()
        return whole / count if mean else whole, count, logits.detach()


class FusedAdamW:
    """AdamW steps by torch's fused kernel; see Backend.fused_adamw.

    The gradient of an embedding comes as rows (`TorchKernels.look_up`). It is spread into a table that is zero but for
    them, made once and cleared row by row.

    Args:
        on_cpu: whether it computes on a CPU; elsewhere no number is read from the device.
    """

    def __init__(self, *, on_cpu: bool) -> None:
        self._on_cpu = on_cpu
        self._tables: dict[int, Any] = {}

    def __call__(self, step: AdamWStep) -> None:
        gradients = step.gradients
        values, first, second = (
            [variable.value for variable in column] for column in (step.variables, step.first, step.second)
        )
        rows = {index: gradient.coalesce() for index, gradient in enumerate(gradients) if gradient.is_sparse}
        parts = [rows[index].values() if index in rows else gradient for index, gradient in enumerate(gradients)]
        shrink = None
        if step.clip_norm is not None:
            # clip_grad_norm_ without its parameters: their .grad is what stands in `gradients`.
            norm = _norm(parts)
            shrink = torch.clamp((norm + 1e-6) / step.clip_norm, min=1.0)  # gradients are divided by it
        for index, found in rows.items():
            if index not in self._tables:
                self._tables[index] = torch.zeros_like(values[index])
            parts[index] = self._tables[index].index_copy_(0, found.indices()[0], parts[index])
        rate, steps = self._numbers(step, values)
        groups: dict[tuple[float, float], list[int]] = {}
        for index, key in enumerate(zip(step.factors, step.decays, strict=True)):
            groups.setdefault(key, []).append(index)
        for (factor, decay), members in groups.items():
            adamw(
                params=[values[i] for i in members],
                grads=[parts[i] for i in members],
                exp_avgs=[first[i] for i in members],
                exp_avg_sqs=[second[i] for i in members],
                max_exp_avg_sqs=[],
                state_steps=[steps[i] for i in members],
                fused=True,
                grad_scale=shrink,
                amsgrad=False,
                maximize=False,
                beta1=step.beta_1,
                beta2=step.beta_2,
                lr=rate * factor,
                weight_decay=decay,
                eps=step.epsilon,
            )
        for index, found in rows.items():
            self._tables[index].index_fill_(0, found.indices()[0], 0.0)

    def _numbers(self, step: AdamWStep, values: list[Any]) -> tuple[Any, list[Any]]:
        """The rate, and for each variable how many steps came before."""
        if self._on_cpu:
            before = float(step.step) - 1.0
            return float(step.rate), [torch.tensor(before) for _ in values]
        return step.rate, list((step.step - 1.0).repeat(len(values)).unbind())


def _norm(parts: list[Any]) -> Any:
    """The norm of all arrays together."""
    if parts[0].is_cuda:
        return torch.nn.utils.get_total_norm(parts)
    flat = [part.reshape(-1) for part in parts]
    return torch.stack([torch.dot(part, part) for part in flat]).sum().sqrt()  # thrice as quick on a CPU


BACKEND = Torch()
