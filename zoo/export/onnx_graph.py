"""A text classifier as an ONNX graph, of ONNX's own operators alone.

In come a blueprint and the arrays of its weights; out comes an onnx.ModelProto from input_ids, attention_mask (and
token_type_ids), each [batch, length] int64, to logits [batch, units] float32. Batch and length are free, the length up
to the backbone's positions. It is written operator by operator and not traced: every backend gives the same file, and
none is needed. Refused: a model above the 2 GiB that one ONNX file can hold.

The computation is that of `zoo.backend.transformer`: Vaswani et al. 2017, with the norms after each half as in
Devlin et al. 2019.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo.errors import RecipeError
from zoo.models.backbone import BackboneConfig
from zoo.models.blueprint import Blueprint
from zoo.models.families import FAMILIES
from zoo.models.topology import Layers, classify, encode, tag
from zoo.recipe.heads import MaskedHead

OPSET, IR_VERSION = 20, 9
"""Gelu came with opset 20; both are as old as onnxruntime 1.17 (2024)."""
MASKED = -1e9
"""Added to the score of a key that is padding, as in zoo.backend.transformer."""
MOST_BYTES = 2**31 - 2**20
"""What protobuf can hold, with room for the nodes."""
INPUTS = {"token_ids": "input_ids", "padding_mask": "attention_mask", "segment_ids": "token_type_ids"}
"""What the model's inputs are called here: as transformers does, and with it most programs that run ONNX files."""


class _Graph:
    """Nodes and constants in the order in which they are asked for."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, name: str, value: Any) -> str:
        import onnx

        self.constants[name] = onnx.numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def weight(self, path: str, shape: Sequence[int] | None = None) -> str:
        """A weight by the path of its variable."""
        value = self.arrays[path]
        return self.constant(path, value if shape is None else value.reshape(shape))

    def numbers(self, *values: int) -> str:
        """A list of integers, as shapes and axes are given."""
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def call(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """The name of what an operator puts out; several names where it has several outputs."""
        import onnx

        names = [f"{kind}_{len(self.nodes)}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(onnx.helper.make_node(kind, inputs, names, name=f"node_{len(self.nodes)}", **attributes))
        return names if outputs > 1 else names[0]

    def dense(self, x: str, layer: str) -> str:
        product = self.call("MatMul", x, self.weight(f"{layer}/kernel"))
        return str(self.call("Add", product, self.weight(f"{layer}/bias")))

    def activated(self, x: str, kind: str) -> str:
        if kind == "relu":
            return str(self.call("Relu", x))
        return str(self.call("Gelu", x, approximate="tanh" if kind == "gelu_tanh" else "none"))

    def norm(self, x: str, layer: str, epsilon: float) -> str:
        gamma, beta = self.weight(f"{layer}/gamma"), self.weight(f"{layer}/beta")
        return str(self.call("LayerNormalization", x, gamma, beta, axis=-1, epsilon=epsilon))


def build_graph(blueprint: Blueprint, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Any:
    """The onnx.ModelProto.

    Args:
        blueprint: what the model computes.
        arrays: its weights by the path of their variable.
        metadata: what stands beside the graph, by key.

    Raises:
        RecipeError: the weights are more than one file can hold.
    """
    import onnx

    size = sum(value.nbytes for value in arrays.values())
    if size > MOST_BYTES:
        raise RecipeError(f"--to onnx: the weights have {size:,} bytes, and one ONNX file holds 2 GiB: use --to hf")
    config = blueprint.backbone
    graph = _Graph(arrays)
    mask = graph.call("Cast", INPUTS["padding_mask"], to=onnx.TensorProto.FLOAT)
    absent = graph.call("Sub", graph.constant("one", np.float32(1.0)), mask)
    bias = graph.call("Mul", absent, graph.constant("masked", np.float32(MASKED)))
    layers = _layers(graph, blueprint)
    states = encode(
        layers,
        INPUTS["token_ids"],
        segment_ids=INPUTS["segment_ids"],
        bias=graph.call("Unsqueeze", bias, graph.numbers(1, 2)),
    )
    if blueprint.head.each == "token":
        tag(layers, states)
    else:
        classify(layers, graph.call("Gather", states, graph.constant("first", np.array(0, np.int64)), axis=1))
    graph.nodes[-1].output[0] = "logits"

    free = ["batch", "length"]
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, free)
        for ours, name in INPUTS.items()
        if ours != "segment_ids" or config.num_segments is not None
    ]
    units = int(arrays["logits/bias"].shape[0])
    shape: list[str | int | None] = [*(free if blueprint.head.each == "token" else free[:1]), units]
    outputs = [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, shape)]
    whole = onnx.helper.make_graph(graph.nodes, "text_classifier", inputs, outputs, list(graph.constants.values()))
    model = onnx.helper.make_model(
        whole, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="text-zoo"
    )
    onnx.helper.set_model_props(model, dict(metadata))
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model)
    return model


def _layers(graph: _Graph, blueprint: Blueprint) -> Layers:
    """What writes the nodes of each layer, as `zoo.models.topology` calls it; dropout writes none."""
    config = blueprint.backbone
    tables = {path.rpartition("/")[0].rpartition("/")[2]: path for path in graph.arrays if "_embedding/" in path}
    family, epsilon = FAMILIES[config.family], config.layer_norm_epsilon

    def looked_up(name: str) -> Callable[[str], str]:
        return lambda ids: graph.call("Gather", graph.weight(tables[name]), ids)

    def placed(x: str) -> str:
        length = graph.call("Gather", graph.call("Shape", x), graph.numbers(1))
        table = graph.weight(tables["position_embedding"])
        return str(graph.call("Slice", table, graph.numbers(0), length, graph.numbers(0)))

    layers: dict[str, Callable[..., Any]] = {
        "token_embedding": looked_up("token_embedding"),
        "position_embedding": placed,
        "embeddings_add": lambda terms: functools.reduce(functools.partial(graph.call, "Add"), terms),
        "embeddings_layer_norm": lambda x: graph.norm(x, "embeddings_layer_norm", epsilon),
        "embeddings_dropout": lambda x: x,
        "logits": lambda x: graph.dense(x, "logits"),
    }
    if isinstance(blueprint.head, MaskedHead):
        kind = family.masked_activation or config.activation
        layers["head_dense"] = lambda x: graph.activated(graph.dense(x, "head_dense"), kind)
        layers["head_layer_norm"] = lambda x: graph.norm(x, "head_layer_norm", epsilon)
        layers["logits"] = functools.partial(_tied, graph, tables["token_embedding"])
    elif blueprint.head.each == "text":
        layers[family.dense] = lambda x: graph.call(family.dense_activation.capitalize(), graph.dense(x, family.dense))
    if config.num_segments is not None:
        layers["segment_embedding"] = looked_up("segment_embedding")
    for number in range(config.num_layers):
        name = f"transformer_layer_{number}"
        layers[name] = functools.partial(_layer, graph, config, name)
    return layers


def _tied(graph: _Graph, table: str, x: str) -> str:
    """Scores [batch, length, vocabulary] by the token embeddings themselves, which stand in the file once."""
    product = graph.call("MatMul", x, graph.call("Transpose", graph.weight(table), perm=[1, 0]))
    return str(graph.call("Add", product, graph.weight("logits/bias")))


def _layer(graph: _Graph, config: BackboneConfig, layer: str, x: str, bias: str) -> str:
    """Hidden states [batch, length, hidden] from the same; bias [batch, 1, 1, length] is added to all scores."""
    heads, hidden, epsilon = config.num_heads, config.hidden_dim, config.layer_norm_epsilon
    width, attention = hidden // heads, f"{layer}/self_attention_layer"
    # One product for queries, keys and values: x is read, and for int8 rounded, once.
    parts = [f"{attention}/{name}" for name in ("query", "key", "value")]
    kernel = np.concatenate([graph.arrays[f"{part}/kernel"].reshape(hidden, hidden) for part in parts], 1)
    offset = np.concatenate([graph.arrays[f"{part}/bias"].reshape(hidden) for part in parts])
    product = graph.call("MatMul", x, graph.constant(f"{attention}/kernel", kernel))
    product = graph.call("Add", product, graph.constant(f"{attention}/bias", offset))
    split = graph.call("Split", product, graph.numbers(hidden, hidden, hidden), outputs=3, axis=-1)
    apart = graph.numbers(0, 0, heads, width)  # 0 keeps a dimension as it is
    query, key, value = (graph.call("Reshape", part, apart) for part in split)
    query, value = (graph.call("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))
    scores = graph.call("MatMul", query, graph.call("Transpose", key, perm=[0, 2, 3, 1]))
    scores = graph.call("Mul", scores, graph.constant("scale", np.float32(width**-0.5)))
    weights = graph.call("Softmax", graph.call("Add", scores, bias), axis=-1)
    context = graph.call("Transpose", graph.call("MatMul", weights, value), perm=[0, 2, 1, 3])
    context = graph.call("Reshape", context, graph.numbers(0, 0, hidden))
    output = graph.weight(f"{attention}/attention_output/kernel", (hidden, hidden))
    found = graph.call("Add", graph.call("MatMul", context, output), graph.weight(f"{attention}/attention_output/bias"))
    x = graph.norm(graph.call("Add", x, found), f"{layer}/self_attention_layer_norm", epsilon)
    found = graph.dense(x, f"{layer}/feedforward_intermediate_dense")
    found = graph.activated(found, config.activation)
    found = graph.dense(found, f"{layer}/feedforward_output_dense")
    return graph.norm(graph.call("Add", x, found), f"{layer}/feedforward_layer_norm", epsilon)
