"""The weights of a model: drawn from a seed, taken from a preset, kept in a file.

In come a built keras.Model and a source of weights; out comes the same model, filled. Refused: a
tensor of another shape, a tensor that is missing (but for a pooler or a head, which are drawn from
the seed), and any pickle.

Names of Hugging Face tensors: transformers' modeling_bert.py, modeling_distilbert.py and
modeling_roberta.py. Keras keeps a kernel as [in, out], torch as [out, in].
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.model_files import weight_files
from zoo.data.writing import write_atomically
from zoo.errors import EnvironmentFault
from zoo.models.backbone import BackboneConfig
from zoo.models.families import FAMILIES
from zoo.models.hdf5 import refuse_unsound
from zoo.models.topology import kind, of_task

SEED = "seed_generator_state"
"""Keras's name of a random generator's state."""
LAYER = "transformer_layer_"
"""What begins the path of a variable of a transformer layer, before its number."""
INITIAL_RANGE = 0.02
"""Standard deviation of fresh weights, as BERT, DistilBERT and RoBERTa draw them."""
DTYPES = {"uint64": "U64", "int64": "I64", "float64": "F64", "float32": "F32", "uint32": "U32", "int32": "I32"}
"""NumPy's names of the types of our variables, and those of safetensors, in whose order a file has them: the widest
first, so that each array begins at a multiple of its width."""
ADAPTERS = ("lora_a", "lora_b")
"""Names of the variables of low-rank adapters, which a model has in training alone."""


def parameters(model: Any) -> list[Any]:
    """All weights of a finished model, trained or frozen: its variables but for adapters and the states of dropout's
    generators."""
    return [variable for variable in model.variables if variable.name not in (SEED, *ADAPTERS)]


def draw(variables: Iterable[Any], seed: int) -> None:
    """Fill variables with fresh weights by NumPy: the same on every backend and in any order.

    Matrices and embeddings: normal, truncated at two standard deviations of 0.02 (Devlin et al. 2019);
    biases and layer norm offsets: 0; layer norm scales: 1.
    """
    for variable in variables:
        if variable.name == "gamma":
            value = np.ones(variable.shape)
        elif variable.name in ("bias", "beta"):
            value = np.zeros(variable.shape)
        else:
            random = np.random.Generator(np.random.PCG64([seed, zlib.crc32(variable.path.encode())]))
            value = random.standard_normal(variable.shape)
            while (outside := np.abs(value) > 2.0).any():
                value[outside] = random.standard_normal(int(outside.sum()))
            value = value * INITIAL_RANGE
        variable.assign(value.astype(np.float32))


# --- our own files ------------------------------------------------------------------------------


def save(variables: Iterable[Any], path: Path) -> None:
    """Write variables as safetensors under their paths."""
    save_arrays(arrays(variables), path)


def arrays(variables: Iterable[Any]) -> dict[str, np.ndarray]:
    """The values of variables on the host, copied, as `save` names them."""
    return {key: to_numpy(variable) for key, variable in _keyed(variables).items()}


def save_arrays(values: Mapping[str, np.ndarray], path: Path) -> None:
    """Write arrays as `save` does variables.

    The file is what safetensors.numpy.save makes, array by array: that one holds all of them twice more.
    """
    ordered = sorted(values.items(), key=lambda item: ([*DTYPES].index(item[1].dtype.name), item[0]))
    header, end = dict[str, Any](), 0
    for key, value in ordered:
        begin, end = end, end + value.nbytes
        header[key] = {"dtype": DTYPES[value.dtype.name], "shape": value.shape, "data_offsets": (begin, end)}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with write_atomically(path) as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, value in ordered:
            stream.write(np.asarray(value, order="C").data)


def load(variables: Iterable[Any], path: Path, *, task: str | None = None) -> None:
    """Fill variables from a file that `save` wrote.

    Args:
        task: of a model of several tasks the one that is taken alone; None takes them as they stand.

    Raises:
        EnvironmentFault: not such a file, a variable missing in it, or one of another shape.
    """
    found = read(path, task=task)
    for key, variable in _keyed(variables).items():
        if key not in found:
            raise EnvironmentFault(f"{path}: no weights for {key}: the file is of another model")
        _assign(variable, found[key], path)


def load_run(
    model: Any, path: Path, *, head_rows: Sequence[int] | None = None, layers: Sequence[int] | None = None
) -> None:
    """Fill a model, or the backbone of one, from the weights of a finished run.

    Args:
        model: what is filled.
        path: the file.
        head_rows: which output of the run's last layer each logit takes; None takes them as they stand.
        layers: which layer of the run each transformer layer takes; None takes them as they stand.

    Raises:
        EnvironmentFault: it is not the file of such a model.
    """
    found = read_safetensors(path)
    for variable in parameters(model):
        value = found.get(source_path(variable.path, layers))
        if value is None:
            raise EnvironmentFault(f"{path}: no weights for {variable.path}: the file is of another model")
        if head_rows is not None and variable.path.startswith("logits/"):
            value = value[..., list(head_rows)]
        _assign(variable, value, path)


def source_path(path: str, layers: Sequence[int] | None) -> str:
    """The path that a variable has in its preset, where the transformer layers of that which are taken are these."""
    if layers is None or not path.startswith(LAYER):
        return path
    number, _, inner = path.removeprefix(LAYER).partition("/")
    return f"{LAYER}{layers[int(number)]}/{inner}"


def read(path: Path, *, task: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file that `save` wrote, by the path of their variable; of one of several tasks those of its model
    alone, as that calls them. Raises EnvironmentFault where it is no such file."""
    found = read_safetensors(path)
    if task is None:
        return found
    own: dict[str, np.ndarray] = {}
    for key, value in found.items():
        layer, slash, part = key.partition("/")
        if layer in (kind(layer), of_task(kind(layer), task)):
            own[kind(layer) + slash + part] = value
    return own


def _keyed(variables: Iterable[Any]) -> dict[str, Any]:
    """Variables by path; the states of dropout's generators by their order, since Keras numbers their paths anew."""
    keyed: dict[str, Any] = {}
    for variable in variables:
        keyed[f"seed/{len(keyed)}" if variable.name == SEED else variable.path] = variable
    return keyed


def to_numpy(variable: Any) -> np.ndarray:
    """The value of a Keras variable on any backend."""
    from keras import ops

    return np.asarray(ops.convert_to_numpy(variable.value))


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of one file.

    Raises:
        EnvironmentFault: the file is missing, truncated or not safetensors, or has what NumPy has not: a type of eight
            bits, a shape of a hundred dimensions.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise EnvironmentFault(f"{path}: cannot be read as safetensors ({error}): fetch it again") from error


def refuse_bloated(config: BackboneConfig, files: Iterable[Path], *, outputs: int = 0) -> None:
    """EnvironmentFault where a backbone has more weights than its files have bytes: it would fill the memory first.

    Args:
        config: as it is written beside the files.
        files: those with the weights.
        outputs: rows of the head's last layer, where the files have it.
    """
    width = config.hidden_dim
    layer = 4 * width * width + 2 * width * config.intermediate_dim
    least = width * (config.vocabulary_size + config.max_positions + outputs) + config.num_layers * layer
    paths = list(files)
    if least > (there := sum(path.stat().st_size for path in paths if path.is_file())):
        raise EnvironmentFault(
            f"{' and '.join(map(str, paths))}: {there:,} bytes, expected {least:,} weights or more by the config: "
            "fetch it again"
        )


def _assign(variable: Any, value: np.ndarray, path: Path) -> None:
    if tuple(variable.shape) != value.shape:
        raise EnvironmentFault(
            f"{path}: {variable.path} is {list(value.shape)} there, expected {list(variable.shape)}: "
            "vocabulary or dimensions do not fit the weights"
        )
    variable.assign(value.astype(np.dtype(variable.dtype)))


# --- Hugging Face layout ------------------------------------------------------------------------


def load_hugging_face(
    model: Any,
    config: BackboneConfig,
    folder: Path,
    *,
    head: str | None,
    head_rows: Sequence[int] | None = None,
    layers: Sequence[int] | None = None,
) -> list[str]:
    """Fill a model from a Hugging Face folder.

    A BERT preset also fits into a DistilBERT backbone, which has no segments: segment 0 is added
    into the position embeddings. The same holds for RoBERTa's single token type, which keras-hub drops.

    Args:
        head: the kind of head that is taken too, see `Family.heads`; None takes none.
        head_rows: which row of the head's last layer each logit takes; None takes them as they stand.
        layers: which layer of the preset each transformer layer takes; None takes them as they stand.

    Returns:
        Paths of the variables that the preset does not have (the pooler of a masked language
        model, the head unless asked for); they are left as they are.

    Raises:
        EnvironmentFault: a tensor is missing or of another shape; or `head` and there is none.
    """
    tensors = {_plain_name(name): value for name, value in _read_folder(folder).items()}
    if head_rows is not None:
        for name in _last_layer(head):
            if name in tensors:
                tensors[name] = tensors[name][list(head_rows)]
    if head == MASKED:
        _refuse_untied(tensors, folder)
    left: list[str] = []
    for variable in parameters(model):
        top = kind(variable.path.split("/", 1)[0])
        if top in HEAD_LAYERS and head is None:
            left.append(variable.path)
            continue
        value = _hugging_face_value(variable, source_path(variable.path, layers), config, head, tensors)
        if value is not None:
            _assign(variable, value, folder)
        elif top == "pooled_dense" and head != SEQUENCE:
            left.append(variable.path)
        else:
            what = f"the head of a model For{head}" if head and top in (*HEAD_LAYERS, "pooled_dense") else variable.path
            raise EnvironmentFault(f"{folder}: the preset has no weights for {what}: use another preset")
    return left


def has_head(folder: Path, head: str) -> bool:
    """Whether a Hugging Face folder holds a head of this kind, of any family; see `Family.heads`."""
    names = set(map(_plain_name, _names_in(folder)))
    return any(all(f"{module}.bias" in names for module in family.heads[head].values()) for family in FAMILIES.values())


def _names_in(folder: Path) -> list[str]:
    """Names of the tensors of a folder; none of them is read."""
    from safetensors import SafetensorError, safe_open

    found: list[str] = []
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="numpy") as opened:
                found += opened.keys()
        except (SafetensorError, OSError) as error:
            raise EnvironmentFault(f"{path}: cannot be read as safetensors ({error}): fetch it again") from error
    return found


def _refuse_untied(tensors: dict[str, np.ndarray], folder: Path) -> None:
    """EnvironmentFault where the scores of a masked language model are not by its token embeddings."""
    for name in UNTIED:
        if name in tensors and not np.array_equal(tensors[name], tensors.get(WORDS, np.zeros(0))):
            raise EnvironmentFault(
                f"{folder}: {name} is not the token embeddings, expected a masked-language head that is tied to them: "
                "use another preset, or model.head.init: seed"
            )


def _read_folder(folder: Path) -> dict[str, np.ndarray]:
    return {name: value for path in weight_files(folder) for name, value in read_safetensors(path).items()}


def _plain_name(name: str) -> str:
    """One spelling for bare models, task models and the gamma and beta of the oldest presets."""
    for family in FAMILIES:
        name = name.removeprefix(f"{family}.")
    name = name.removesuffix(".gamma") + ".weight" if name.endswith(".gamma") else name
    return name.removesuffix(".beta") + ".bias" if name.endswith(".beta") else name


SEQUENCE = "SequenceClassification"
"""The kind of head that needs BERT's pooler."""
MASKED = "MaskedLM"
"""The kind of head whose last layer is tied to the token embeddings."""
UNTIED = ("cls.predictions.decoder.weight", "vocab_projector.weight", "lm_head.decoder.weight")
"""Last layers of such heads; presets that are tied leave them out, or have the token embeddings there."""
HEAD_LAYERS = frozenset(layer for family in FAMILIES.values() for head in family.heads.values() for layer in head)
"""Layers of ours that are of a head."""


def _last_layer(head: str | None) -> list[str]:
    """Tensors of a head of this kind with a row for each output."""
    names = {family.module("logits", head) for family in FAMILIES.values()}
    return [f"{name}.{part}" for name in sorted(filter(None, names)) for part in ("weight", "bias")]


HUGGING_FACE_PARTS = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}
"""What Hugging Face calls a variable of a layer, by Keras's name for it."""
WORDS, POSITIONS, TYPES = (f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type"))
"""Hugging Face's tables of embeddings."""


def _hugging_face_value(
    variable: Any, path: str, config: BackboneConfig, head: str | None, tensors: dict[str, np.ndarray]
) -> np.ndarray | None:
    layer, _, part = path.rpartition("/")
    if layer.endswith("_embedding"):
        return _embedding(layer.rpartition("/")[2], config, tensors)
    # Under the names of any family: a BERT without its segments is a DistilBERT.
    modules = [family.module(layer, head) for family in FAMILIES.values()]
    names = [f"{module}.{HUGGING_FACE_PARTS[part]}" for module in modules if module is not None]
    value = next((tensors[name] for name in names if name in tensors), None)
    if value is None or part in ("gamma", "beta"):
        return value
    # Kernels of attention are [hidden, heads, head_dim] and [heads, head_dim, hidden] in Keras.
    value = value.T if part == "kernel" else value
    return value.reshape(variable.shape) if value.size == np.prod(variable.shape) else value


def _embedding(layer: str, config: BackboneConfig, tensors: dict[str, np.ndarray]) -> np.ndarray | None:
    if layer == "segment_embedding":
        return tensors.get(TYPES)
    if layer == "token_embedding":
        return tensors.get(WORDS)
    positions = tensors.get(POSITIONS)
    if positions is None:
        return None
    positions = positions[FAMILIES[config.family].first_position :]
    types = tensors.get(TYPES)
    return positions + types[0] if types is not None and config.num_segments is None else positions


# --- Keras layout -------------------------------------------------------------------------------


def load_keras_preset(
    backbone: Any, config: BackboneConfig, folder: Path, *, layers: Sequence[int] | None = None
) -> None:
    """Fill a backbone from a keras-hub preset folder, whose model.weights.h5 is looked through before Keras reads it.

    Args:
        backbone: what is filled.
        config: of the preset.
        folder: where it lies.
        layers: which layer of the preset each transformer layer takes; None takes them as they stand.

    Raises:
        EnvironmentFault: it is not the file of such a backbone, or holds more than its weights.
    """
    from zoo.models.encoder import keras_hub_backbone  # it imports Keras

    path = folder / "model.weights.h5"
    stock = keras_hub_backbone(config)  # Keras finds weights in such a file by the layers that wrote it
    refuse_unsound(path, parameters=stock.count_params())
    try:
        stock.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise EnvironmentFault(f"{path}: the weights do not fit ({error}): fetch it again") from error
    found = {variable.path: variable for variable in parameters(stock)}
    for variable in parameters(backbone):
        variable.assign(found[source_path(variable.path, layers)].value)
