"""What turns a backbone's output into logits.

In come the backbone and the recipe's head; out comes a plain keras.Model whose layers stand side by
side, by name. Each family's head is the one its authors fine-tuned with, so that a Hugging Face
classification preset fits into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.models.backbone import BackboneConfig
from zoo.models.blueprint import OneHead
from zoo.models.contrastive import attach as attach_contrastive
from zoo.models.families import FAMILIES
from zoo.models.masked import attach as attach_masked
from zoo.models.topology import OF, beside, classify, of_task, tag, tasks_of
from zoo.recipe.heads import ContrastiveHead, Head, MaskedHead

if TYPE_CHECKING:
    from zoo.models.dropout import Masks


def attach(
    backbone: Any,
    config: BackboneConfig,
    head: Head,
    units: int,
    *,
    tasks: Mapping[str, OneHead] | None = None,
    masks: Masks = "portable",
    seed: int = 0,
) -> Any:
    """Backbone and head in one keras.Model.

    Args:
        backbone: a keras.Model as `zoo.models.encoder.encoder_graph` says.
        config: of the backbone.
        head: with its rate of dropout as a number.
        units: outputs a row.
        tasks: of several tasks the head of each, in place of `head`.
        masks: see `zoo.models.dropout.dropout`.
        seed: draws dropout, and the weights as Keras makes them.

    Returns:
        A keras.Model from the backbone's dict of inputs, each [batch, length] int32, to float32
        logits [batch, units]; with a head for tokens or for hidden ones [batch, length, units]. The backbone is one of
        its layers, and a pooler that such a head has no use for is not trained.
    """
    if isinstance(head, MaskedHead):
        return attach_masked(backbone, config, seed=seed)
    if isinstance(head, ContrastiveHead):
        return attach_contrastive(backbone)
    import keras

    from zoo.models.dropout import dropout, seed_at

    family, policy = FAMILIES[config.family], backbone.dtype_policy.name

    def dropped(name: str, of: Head = head) -> Any:
        return dropout(of.dropout or 0.0, masks=masks, seed=seed, place=name, name=name, dtype=policy)

    def dense(name: str, size: int, **options: Any) -> Any:
        drawn = keras.initializers.GlorotUniform(seed=seed_at(seed, name))
        return keras.layers.Dense(size, kernel_initializer=drawn, name=name, **options)

    inputs = backbone.input
    outputs = backbone(inputs)
    if head.each == "token":
        layers = {"head_dropout": dropped("head_dropout"), "logits": dense("logits", units, dtype="float32")}
        states = outputs
        if family.dense == "pooled_dense":
            states = outputs["sequence_output"]
            backbone.get_layer("pooled_dense").trainable = False
        return keras.Model(inputs, tag(layers, states), name="token_classifier")
    layers = dict[str, Any]()
    each = {f"{OF}{name}": own for name, own in (tasks or {}).items()} or {"": OneHead(head=head, units=units)}
    for name, own in each.items():
        if family.head_input_dropout:
            layers[f"head_input_dropout{name}"] = dropped(f"head_input_dropout{name}", own.head)
        if family.dense == "head_dense":
            layers[f"head_dense{name}"] = dense(
                f"head_dense{name}", config.hidden_dim, activation=family.dense_activation, dtype=policy
            )
        layers[f"head_dropout{name}"] = dropped(f"head_dropout{name}", own.head)
        # Logits and loss in float32 whatever the policy: bfloat16 has three digits.
        layers[f"logits{name}"] = dense(f"logits{name}", own.units, dtype="float32")
    if tasks:
        layers[beside(tasks)] = keras.layers.Concatenate(name=beside(tasks), dtype="float32")
    features = outputs["pooled_output"] if family.dense == "pooled_dense" else outputs[:, 0, :]
    return keras.Model(inputs, classify(layers, features), name="text_classifier")


def rescale(model: Any, scale: np.ndarray, offset: np.ndarray) -> None:
    """Make the last layer give what it gave times `scale`, [units], and `offset` more, [units]."""
    layers = layers_by_name(model)
    first = 0
    for layer in [layers[of_task("logits", task)] for task in tasks_of(layers)] or [layers["logits"]]:
        kernel, bias = layer.get_weights()
        own = slice(first, first := first + layer.units)
        layer.set_weights([kernel * scale[own], bias * scale[own] + offset[own]])


def layers_by_name(model: Any) -> dict[str, Any]:
    """The layers of a model from `attach` by name, those of its backbone among them."""
    backbone = model.get_layer("backbone")
    return {layer.name: layer for layer in (*backbone.layers, *model.layers) if layer is not backbone}
