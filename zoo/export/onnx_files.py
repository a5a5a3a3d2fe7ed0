"""`--to onnx` and `--to onnx_int8`: a folder that onnxruntime runs, and transformers' tokenizer beside it.

In comes a `Source`; out come model.onnx, config.json and the tokenizer's two files. model.onnx says in its metadata
what its classes are called and how texts are cut. The check runs it in onnxruntime on the run's own tokens; for int8 it
also measures both kinds in turns. Refused, as EnvironmentFault: a machine without onnx or onnxruntime.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.batches import batches, choose_lengths, evaluation_order
from zoo.errors import EnvironmentFault
from zoo.export.hugging_face import write_config
from zoo.export.onnx_graph import INPUTS, build_graph
from zoo.export.source import BATCH, FEW, MANY, Rows, Source, program
from zoo.models import inference

FILE = "model.onnx"
ROUNDS = 3
"""How often each kind is timed; the quickest counts."""


def require() -> None:
    """Raise EnvironmentFault where a package is missing."""
    absent = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        raise EnvironmentFault(f"{' and '.join(absent)} {verb} not installed: pip install 'text-zoo[onnx]'")


def write(source: Source, folder: Path) -> list[str]:
    """Write the float32 model."""
    (folder / FILE).write_bytes(_graph(source).SerializeToString())
    write_config(source, folder)
    return []


def write_int8(source: Source, folder: Path) -> list[str]:
    """Write the model with the weights of its matrix products as int8, scaled by output channel.

    The other side of each product is rounded to 8 bits as it comes, with a scale by batch (onnxruntime's dynamic
    quantization). On an x86 processor without VNNI two such products can overflow a sum of 16 bits, which onnxruntime
    then cuts off: what is checked on one machine is best checked again on the one that it is for.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = _graph(source)
    # What the quantizer asks to be done first, the inference of shapes, is done.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    quantize_dynamic(
        model,
        folder / FILE,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    write_config(source, folder)
    return []


def rows(source: Source) -> Rows:
    return source.rows(FEW)


def rows_int8(source: Source) -> Rows:
    return source.rows(MANY)


def check(source: Source, folder: Path, chosen: Rows) -> tuple[str, np.ndarray]:
    """onnxruntime's name, and its values [rows, names]."""
    found = source.values(_predictor(str(folder / FILE)), chosen)
    return program("onnxruntime"), found


def speeds(source: Source, folder: Path, chosen: Rows) -> dict[str, float]:
    """Texts a second of int8 and of float32 in onnxruntime, on this machine and these rows, in batches of BATCH."""
    predictors = {"int8": _predictor(str(folder / FILE)), "float32": _predictor(_graph(source).SerializeToString())}
    table = chosen.table
    order = evaluation_order(table.lengths, batch_size=BATCH)
    lengths = choose_lengths(table.lengths, shapes=inference.SHAPES)
    made = list(batches(table, None, order, batch_size=BATCH, lengths=lengths, names=source.input_names()))
    seconds = dict.fromkeys(predictors, float("inf"))
    for _ in range(ROUNDS):
        for name, predict in predictors.items():
            begun = time.perf_counter()
            for batch in made:
                predict(batch.inputs)
            seconds[name] = min(seconds[name], time.perf_counter() - begun)
    return {name: len(chosen) / spent for name, spent in seconds.items()}


def sizes(source: Source, folder: Path) -> dict[str, int]:
    """Bytes of the int8 model as it was written, and of the float32 one as it would be."""
    return {"int8": (folder / FILE).stat().st_size, "float32": _graph(source).ByteSize()}


def _graph(source: Source) -> Any:
    described = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in source.description().items()
    }
    return build_graph(source.card.blueprint, source.arrays, described)


def _predictor(model: str | bytes) -> Any:
    """A function from the zoo's inputs to logits [batch, units]."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def predict(inputs: Mapping[str, Any]) -> Any:
        given = {INPUTS[name]: np.asarray(value, np.int64) for name, value in inputs.items()}
        return session.run(["logits"], given)[0]

    return predict
