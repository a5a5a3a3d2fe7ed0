"""RoBERTa (Liu et al. 2019): BERT without segments, and with dropout on either side of its head's dense layer."""

from __future__ import annotations

from dataclasses import replace

from zoo.models.bert import BERT

ROBERTA = replace(
    BERT,
    name="roberta",
    class_prefix="Roberta",
    embeddings="embeddings",
    num_segments=None,
    layer_norm_epsilon=1e-5,
    keras_hub_activation="gelu",
    dense="head_dense",
    head_input_dropout=True,
    modules={
        "embeddings_layer_norm": "embeddings.LayerNorm",
    },
    heads={
        "SequenceClassification": {"head_dense": "classifier.dense", "logits": "classifier.out_proj"},
        "TokenClassification": {"logits": "classifier"},
        "QuestionAnswering": {"logits": "qa_outputs"},
        "MaskedLM": {
            "head_dense": "lm_head.dense",
            "head_layer_norm": "lm_head.layer_norm",
            "logits": "lm_head",
        },
    },
    masked_activation="gelu",
    first_position=2,  # fairseq counts positions from its padding id 1, plus one
)
