"""How the layers of a text encoder and of its head follow each other: said once, for all that is built of them.

In come layers by name (Keras layers of ours or of keras-hub, or functions that write the nodes of an ONNX graph) and
what they are called on; out come hidden states, or logits. Training, packing, explaining and exporting call this with
other layers or other inputs. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Layers = Mapping[str, Callable[..., Any]]
"""Layers by name: token_embedding, position_embedding, segment_embedding where the family has segments, embeddings_add,
embeddings_layer_norm, embeddings_dropout, transformer_layer_0 and so on; and those of `HEAD` that there are."""

Changed = Callable[[Layers], tuple[Layers, dict[str, Any]]]
"""From layers to those with something between them, and the inputs that this takes by name."""


def unchanged(layers: Layers) -> tuple[Layers, dict[str, Any]]:
    """See `Changed`."""
    return layers, {}


EMBEDDER = ("mean_of_tokens", "to_length_1")
"""Layers between every token's hidden state and the embedding of the text, in order."""
TOKEN_HEAD = ("head_dense", "head_layer_norm", "head_dropout", "logits")
"""Layers between every token's hidden state and its logits, in order."""
HEAD = ("pooled_dense", "head_input_dropout", "head_dense", "head_dropout", "logits")
"""Layers between the first token's hidden state and the logits, in order; BERT's pooler belongs to its encoder."""


def encode(
    layers: Layers,
    token_ids: Any = None,
    *,
    embedded: Any = None,
    segment_ids: Any = None,
    positions: Any = None,
    **mask: Any,
) -> Any:
    """Hidden states [batch, length, hidden] of the last layer.

    Args:
        layers: by name.
        token_ids: [batch, length].
        embedded: token embeddings [batch, length, hidden], in place of token_ids.
        segment_ids: [batch, length], where there is a segment_embedding.
        positions: [batch, length], where each token stands in its text; None counts from 0 in each row.
        mask: what the transformer layers take: padding_mask [batch, length], or attention_mask [batch, length, length].
    """
    x = layers["token_embedding"](token_ids) if embedded is None else embedded
    placed = {} if positions is None else {"positions": positions}
    terms = [x, layers["position_embedding"](x, **placed)]
    if "segment_embedding" in layers:
        terms.append(layers["segment_embedding"](segment_ids))
    x = layers["embeddings_add"](terms)
    x = layers["embeddings_dropout"](layers["embeddings_layer_norm"](x))
    number = 0
    while (layer := layers.get(f"transformer_layer_{number}")) is not None:
        x = layer(x, **mask)
        number += 1
    return x


OF = ">"
"""Between the name of a layer and that of the task whose it is: a sign that no task has in its name, and that all three
backends take."""


def of_task(layer: str, task: str) -> str:
    """The name of a layer of one of several tasks, as `logits>imdb`."""
    return f"{layer}{OF}{task}"


def kind(layer: str) -> str:
    """The name of a layer without that of its task."""
    return layer.partition(OF)[0]


def beside(tasks: Iterable[str]) -> str:
    """The name of the layer that puts the logits of several tasks side by side, in this order."""
    return OF.join(("beside", *tasks))


def tasks_of(layers: Iterable[str]) -> tuple[str, ...]:
    """The tasks of a model's layers in the order of their logits; none where it has one."""
    return next((tuple(name.split(OF)[1:]) for name in layers if kind(name) == "beside"), ())


def classify(layers: Layers, x: Any) -> Any:
    """Logits [batch, units] from the hidden states [batch, hidden] of first tokens."""
    tasks = tasks_of(layers)
    if not tasks:
        return _through(layers, HEAD, x)
    x = _through(layers, HEAD[:1], x)
    heads = ([of_task(layer, task) for layer in HEAD[1:]] for task in tasks)
    return layers[beside(tasks)]([_through(layers, head, x) for head in heads])


def embed(layers: Layers, x: Any, padding_mask: Any) -> Any:
    """Embeddings of texts, [batch, hidden] of length 1, from the hidden states [batch, length, hidden] of tokens."""
    return layers[EMBEDDER[1]](layers[EMBEDDER[0]](x, mask=padding_mask))


def tag(layers: Layers, x: Any) -> Any:
    """Logits [batch, length, units] from the hidden states [batch, length, hidden] of all tokens, or of some."""
    return _through(layers, TOKEN_HEAD, x)


def _through(layers: Layers, names: Sequence[str], x: Any) -> Any:
    for name in names:
        if name in layers:
            x = layers[name](x)
    return x
