"""DistilBERT (Sanh et al. 2019): BERT without segments and pooler, and nothing dropped of what attention puts out."""

from __future__ import annotations

from zoo.models.family import Family

DISTILBERT = Family(
    name="distilbert",
    class_prefix="DistilBert",
    embeddings="token_and_position_embedding",
    num_segments=None,
    activation="gelu",
    layer_norm_epsilon=1e-12,
    keras_hub_activation="gelu",
    attention_output_dropout=False,
    dense="head_dense",
    dense_activation="relu",
    head_input_dropout=False,
    modules={
        "embeddings_layer_norm": "embeddings.LayerNorm",
    },
    heads={
        "SequenceClassification": {"head_dense": "pre_classifier", "logits": "classifier"},
        "TokenClassification": {"logits": "classifier"},
        "QuestionAnswering": {"logits": "qa_outputs"},
        "MaskedLM": {
            "head_dense": "vocab_transform",
            "head_layer_norm": "vocab_layer_norm",
            "logits": "vocab_projector",
        },
    },
    masked_activation=None,
    layers="transformer.layer",
    layer_modules={
        "self_attention_layer/query": "attention.q_lin",
        "self_attention_layer/key": "attention.k_lin",
        "self_attention_layer/value": "attention.v_lin",
        "self_attention_layer/attention_output": "attention.out_lin",
        "self_attention_layer_norm": "sa_layer_norm",
        "feedforward_intermediate_dense": "ffn.lin1",
        "feedforward_output_dense": "ffn.lin2",
        "feedforward_layer_norm": "output_layer_norm",
    },
    first_position=0,
)
