"""The peer's speed, block by block, by the protocol of the zoo's own measurement.

In comes a recipe and a setting; out comes a `Subject`. `notebook` and `tuned` train in a loop by hand, which leaves out
what `transformers.Trainer` does beside the steps (callbacks, logging, accelerate's wrappers): it is the faster of the
two. `pipeline` predicts by `transformers.pipeline`. Refused: what hf_model.py refuses.
"""

from __future__ import annotations

import contextlib
import copy
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
import transformers

from benchmarks import protocol
from benchmarks.peers import hf_model
from benchmarks.peers.hf_model import Material, Setting
from benchmarks.peers.hf_ways import quickest
from benchmarks.protocol import Answer
from zoo.backend import Precision, versions
from zoo.runs.account import Stopwatch, process_memory

PIPELINE_BATCHES = (8, 32, 64, 128)
"""Batch sizes that the pipeline is tried at."""
PIPELINE_PASSES = 2
"""Blocks of each trial: the first one also chooses kernels."""
HALF = "bfloat16 weights"
"""A pipeline whose model itself is bfloat16. Nobody trains so here: steps of 2e-5 are lost in weights of 8 bits."""
TRIALS = 5
"""Steps of each precision from which the fastest one is told."""


class Training:
    """Blocks of training steps."""

    def __init__(self, material: Material, setting: Setting, watch: Stopwatch) -> None:
        self._material, self._setting = material, setting
        with watch.measure("build"):
            self._model = hf_model.build(material, setting)
            self._optimizer, self._scheduler = hf_model.optimizer_of(material, self._model)
        self._rows = material.rows["train"]
        self._lengths = self._rows.lengths
        self._order = list(islice(next(hf_model.batch_orders(material, setting)), protocol.POOL))
        self._model.train()
        torch.manual_seed(material.recipe.seed)
        self._precision = choose_precision(self._model, material, setting)
        self._scale = scale()
        ways = None
        if setting.ways and self._scale is protocol.ON_ACCELERATOR:
            ways = quickest(self._model, self._precision, self._tried)
            self._model.zero_grad(set_to_none=True)
        forget_peak()  # what was tried may take more than what was chosen
        first, step_seconds = protocol.warm_up(
            self._order, lambda rows: f"{len(rows)}x{self._length(rows)}", self._timed
        )
        if ways is not None:
            first[ways.chosen[-1]] = ways.first_seconds
        self._steps = protocol.steps_of_block(step_seconds, self._scale)
        self._blocks = 0
        self.actions: Mapping[str, Callable[[], Answer]] = {
            "train": self._train,
            "ceiling": self._ceiling,
            "memory": memory,
        }
        cells = sum(len(rows) * self._length(rows) for rows in self._order)
        self.ready: Answer = {
            "seconds": watch.seconds,
            "compile_seconds": first,
            "shapes": len(first) - (ways is not None),
            "padding_fraction": 1.0 - int(sum(self._lengths[rows].sum() for rows in self._order)) / cells,
            "steps_per_block": self._steps,
            "precision": self._precision,
            "loop": "by hand",
            **({} if ways is None else ways.told()),
            **told_of(material),
            **environment(),
        }

    def _train(self) -> Answer:
        sizes = [int(self._lengths[rows].sum()) for rows in self._order]
        places = protocol.block_of(sizes, self._steps, self._blocks, repeated=self._scale.repeated)
        order = [self._order[place] for place in places]
        self._blocks += 1
        lengths = self._lengths[np.concatenate(order)]
        begun = time.perf_counter()
        for rows in order:
            loss = self._step(rows)
        loss.item()
        wait()
        seconds = time.perf_counter() - begun
        return protocol.trained(seconds, len(order), lengths, self._material.blueprint.backbone)

    def _ceiling(self) -> Answer:
        rows = self._material.recipe.training.batch_size * max(map(self._length, self._order))
        return torch_ceiling(self._material, rows, self._precision)

    def _step(self, rows: list[int]) -> Any:
        loss = forward_backward(self._model, self._material, self._setting, rows, self._precision)
        clip = self._material.recipe.training.optimizer.clip_norm
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), clip, foreach=True)
        self._optimizer.step()
        self._scheduler.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss

    def _timed(self, rows: list[int]) -> float:
        begun = time.perf_counter()
        self._step(rows)
        wait()
        return time.perf_counter() - begun

    def _tried(self) -> tuple[float, float]:
        """See `hf_ways.Timed`: of a middling batch, forward and backward."""
        seconds = []
        for _ in range(1 + TRIALS):
            begun = time.perf_counter()
            rows = middling(self._material)
            forward_backward(self._model, self._material, self._setting, rows, self._precision)
            wait()
            seconds.append(time.perf_counter() - begun)
        return seconds[0], min(seconds[1:])

    def _length(self, rows: list[int]) -> int:
        """Tokens a row that these rows are padded to."""
        return max(int(self._lengths[rows].max()), self._setting.pad_to or 0)


class Pipeline:
    """Blocks of predictions by transformers' text-classification pipeline, at its fastest of all that is tried."""

    def __init__(self, material: Material, setting: Setting, watch: Stopwatch) -> None:
        self._material = material
        with watch.measure("build"):
            model = hf_model.build(material, setting).eval()
            self._pipelines = dict.fromkeys(hf_model.precisions(setting), self._of(model, material))
            self._pipelines.setdefault("float32", self._pipelines[next(iter(self._pipelines))])
            if scale() is protocol.ON_ACCELERATOR and "bfloat16" in self._pipelines:
                self._pipelines[HALF] = self._of(copy.deepcopy(model).to(torch.bfloat16), material)
        test = material.dataset.test
        texts = test.texts[: protocol.PREDICT_ROWS]
        pairs = None if test.pairs is None else test.pairs[: protocol.PREDICT_ROWS]
        self._inputs: list[Any] = list(texts)
        if pairs is not None:
            self._inputs = [{"text": a, "text_pair": b} for a, b in zip(texts, pairs, strict=True)]
        numbers = model.config.label2id
        labels = [int(numbers[found["label"]]) for found in self._classify(PIPELINE_BATCHES[0], "float32")]
        tried = self._trials(setting)
        forget_peak()
        self.actions: Mapping[str, Callable[[], Answer]] = {"predict": self._predict, "memory": memory}
        self._batch, self._way = min(tried, key=lambda pair: tried[pair])
        self.ready: Answer = {
            "seconds": watch.seconds,
            "precision": _precision_of(self._way),
            **({"way": HALF} if self._way == HALF else {}),
            "batch_size": self._batch,
            "tried": {f"{way} {size}": len(texts) / value for (size, way), value in tried.items()},
            "labels": labels,
            **told_of(material),
            **environment(),
        }

    def _predict(self) -> Answer:
        begun = time.perf_counter()
        self._classify(self._batch, self._way)
        return {"seconds": time.perf_counter() - begun, "examples": len(self._inputs)}

    def _classify(self, batch_size: int, way: str) -> Iterable[Any]:
        length = self._material.recipe.tokens.max_length
        given = {"batch_size": batch_size, "truncation": True, "max_length": length}
        precision = _precision_of(way)
        with multiplying(precision), contextlib.nullcontext() if way == HALF else autocast(precision):
            found: list[Any] = self._pipelines[way](self._inputs, **given)
        return found

    def _trials(self, setting: Setting) -> dict[tuple[int, str], float]:
        """Seconds of one block by batch size and way."""
        tried: dict[tuple[int, str], float] = {}
        for way in (*hf_model.precisions(setting), *(way for way in self._pipelines if way == HALF)):
            for size in PIPELINE_BATCHES:
                seconds = []
                for _ in range(PIPELINE_PASSES):
                    begun = time.perf_counter()
                    self._classify(size, way)
                    seconds.append(time.perf_counter() - begun)
                tried[size, way] = min(seconds)
        return tried

    @staticmethod
    def _of(model: Any, material: Material) -> Any:
        return transformers.pipeline(
            "text-classification", model=model, tokenizer=material.tokenizer, device=hf_model.device()
        )


def _precision_of(way: str) -> Precision:
    """In what a pipeline multiplies."""
    return "bfloat16" if way == HALF else cast(Precision, way)


def forward_backward(model: Any, material: Material, setting: Setting, rows: list[int], precision: Precision) -> Any:
    """The loss on these rows of train, still on the device; the gradients are in the model."""
    batch = hf_model.padded(material.rows["train"], rows, setting, material.tokenizer.pad_token_id)
    inputs = {name: sent(torch.from_numpy(value)) for name, value in batch.items()}
    with multiplying(precision):
        with autocast(precision):
            loss = model(**inputs).loss
        loss.backward()
    return loss.detach()


def sent(tensor: Any) -> Any:
    """A tensor of the host on the device; to a GPU from pinned memory, so that nobody waits for the copy."""
    if hf_model.device().type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(hf_model.device(), non_blocking=True)


def choose_precision(model: Any, material: Material, setting: Setting) -> Precision:
    """What the setting says; with `auto` the one in which forward and backward of a middling batch are fastest.

    No weight is changed, and no gradient is left in the model. Raises as `hf_model.precisions`.
    """
    candidates = hf_model.precisions(setting)
    if len(candidates) == 1:
        return candidates[0]
    rows = middling(material)
    best: dict[Precision, float] = dict.fromkeys(candidates, np.inf)
    for trial in range(1 + TRIALS):
        for precision in best:
            begun = time.perf_counter()
            forward_backward(model, material, setting, rows, precision)
            wait()
            if trial:  # the first one chooses kernels
                best[precision] = min(best[precision], time.perf_counter() - begun)
    model.zero_grad(set_to_none=True)
    return min(best, key=lambda precision: best[precision])


def middling(material: Material) -> list[int]:
    """Rows of a batch of middling length."""
    size = material.recipe.training.batch_size
    middle = len(material.rows["train"].ids) // 2
    order = np.argsort(material.rows["train"].lengths, kind="stable")
    rows: list[int] = order[max(0, middle - size // 2) :][:size].tolist()
    return rows


@contextlib.contextmanager
def multiplying(precision: Precision) -> Iterator[None]:
    """The context in which float32 numbers are multiplied so: as TF32 if it is asked for, else as IEEE float32."""
    switch: Any = torch.backends.cuda.matmul
    before, switch.fp32_precision = switch.fp32_precision, "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        switch.fp32_precision = before


def autocast(precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """The context in which a model computes in bfloat16, or does not; its weights are float32 in each precision."""
    if precision != "bfloat16":
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[Any] = torch.autocast(hf_model.device().type, torch.bfloat16)
    return context


def wait() -> None:
    """Return when all that was sent off is computed."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def torch_ceiling(material: Material, rows: int, precision: Precision) -> Answer:
    """See `Subject.ceiling`."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32

    def finished(product: Any) -> None:
        wait()

    with torch.no_grad(), multiplying(precision):
        return protocol.best_product(
            protocol.product_shapes(material.blueprint.backbone, rows, scale()),
            draw=lambda matrix: torch.from_numpy(matrix).to(hf_model.device(), kind),
            multiply=torch.matmul,
            wait=finished,
            timed_seconds=scale().timed_seconds,
        )


def scale() -> protocol.Scale:
    """Of the device that torch computes on."""
    return protocol.scale_of(accelerated=hf_model.device().type != "cpu")


def forget_peak() -> None:
    """Count the largest memory of the device from now on."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def memory() -> Answer:
    """Largest memory so far, counted as the zoo counts its own (zoo.runs.account.memory)."""
    if torch.cuda.is_available():
        return {"peak_bytes": torch.cuda.max_memory_allocated(), "of": "device"}
    return process_memory()


def told_of(material: Material) -> Answer:
    """Where the weights are from, where the recipe's own are in a form that transformers does not read."""
    return {} if material.weights_from is None else {"weights": material.weights_from}


def environment() -> Answer:
    """Device and versions, as the zoo's runs tell them."""
    gpu = torch.cuda.is_available()
    cudnn: Any = torch.backends.cudnn
    return {
        "device": "gpu: " + torch.cuda.get_device_name(0) if gpu else "cpu",
        "versions": {
            "python": platform.python_version(),
            **versions("transformers", "accelerate", "tokenizers", "numpy"),
            "torch": torch.__version__,
            **({"cuda": str(torch.version.cuda), "cudnn": str(cudnn.version())} if gpu else {}),
        },
    }
