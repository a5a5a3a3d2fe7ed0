"""BERT (Devlin et al. 2019): segments, and a pooler on the first token that belongs to the encoder."""

from __future__ import annotations

from zoo.models.family import Family

BERT = Family(
    name="bert",
    class_prefix="Bert",
    embeddings=None,
    num_segments=2,
    activation="gelu",
    layer_norm_epsilon=1e-12,
    keras_hub_activation="gelu_tanh",
    attention_output_dropout=True,
    dense="pooled_dense",
    dense_activation="tanh",
    head_input_dropout=False,
    modules={
        "embeddings_layer_norm": "embeddings.LayerNorm",
        "pooled_dense": "pooler.dense",
    },
    heads={
        "SequenceClassification": {"logits": "classifier"},
        "TokenClassification": {"logits": "classifier"},
        "QuestionAnswering": {"logits": "qa_outputs"},
        "MaskedLM": {
            "head_dense": "cls.predictions.transform.dense",
            "head_layer_norm": "cls.predictions.transform.LayerNorm",
            "logits": "cls.predictions",
        },
    },
    masked_activation=None,
    layers="encoder.layer",
    layer_modules={
        "self_attention_layer/query": "attention.self.query",
        "self_attention_layer/key": "attention.self.key",
        "self_attention_layer/value": "attention.self.value",
        "self_attention_layer/attention_output": "attention.output.dense",
        "self_attention_layer_norm": "attention.output.LayerNorm",
        "feedforward_intermediate_dense": "intermediate.dense",
        "feedforward_output_dense": "output.dense",
        "feedforward_layer_norm": "output.LayerNorm",
    },
    first_position=0,
)
