"""What turns a backbone's output into logits.

In come the backbone and the recipe's head; out comes a plain keras.Model whose layers stand side by
side, by name. Each family's head is the one its authors fine-tuned with, so that a Hugging Face
classification checkpoint fits into it.
"""

from __future__ import annotations

from typing import Any

from zoo.model.backbone import BackboneConfig
from zoo.recipe.types import BinaryHead, ClassifierHead


def units(head: ClassifierHead | BinaryHead, classes: int) -> int:
    """Logits a row: one a class, or a single one for class 1."""
    return 1 if head.type == "binary" else classes


def attach(backbone: Any, config: BackboneConfig, head: ClassifierHead | BinaryHead, classes: int) -> Any:
    """Backbone and head in one keras.Model.

    Returns:
        A keras.Model from the backbone's dict of inputs, each [batch, length] int32, to float32
        logits [batch, classes], or [batch, 1] for a binary head.
    """
    import keras

    policy = backbone.dtype_policy.name
    if config.family == "bert":
        # Devlin et al. 2019: the pooler's tanh of [CLS], then the logits.
        features = backbone.output["pooled_output"]
    else:
        features = backbone.output[:, 0, :]
        if config.family == "roberta":  # Liu et al. 2019: dropout on either side of the dense layer
            features = keras.layers.Dropout(head.dropout, dtype=policy, name="head_input_dropout")(features)
        # Sanh et al. 2019 fine-tune DistilBERT with relu, Liu et al. RoBERTa with tanh.
        activation = "relu" if config.family == "distilbert" else "tanh"
        features = keras.layers.Dense(config.hidden_dim, activation=activation, dtype=policy, name="head_dense")(
            features
        )
    features = keras.layers.Dropout(head.dropout, dtype=policy, name="head_dropout")(features)
    # Logits and loss in float32 whatever the policy: bfloat16 has three digits.
    logits = keras.layers.Dense(units(head, classes), dtype="float32", name="logits")(features)
    return keras.Model(backbone.input, logits, name="text_classifier")


def loss(head: ClassifierHead | BinaryHead) -> Any:
    """Cross-entropy from logits, the mean over the rows of weight 1.

    Returns:
        A function (logits [batch, units] float32, labels [batch] int32, weights [batch] float32) -> scalar, in nats.
    """
    from keras import ops

    def softmax_loss(logits: Any, labels: Any, weights: Any) -> Any:
        losses = ops.logsumexp(logits, axis=-1) - ops.sum(
            logits * ops.one_hot(labels, logits.shape[-1], dtype=logits.dtype), axis=-1
        )
        return ops.sum(losses * weights) / ops.sum(weights)

    def sigmoid_loss(logits: Any, labels: Any, weights: Any) -> Any:
        logit = logits[:, 0]
        losses = ops.softplus(logit) - logit * ops.cast(labels, logit.dtype)
        return ops.sum(losses * weights) / ops.sum(weights)

    return {"classifier": softmax_loss, "binary": sigmoid_loss}[head.type]
