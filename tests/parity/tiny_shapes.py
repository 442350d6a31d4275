"""The names and shapes of a checkpoint's tensors, by architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Shapes: TypeAlias = dict[str, tuple[int, ...]]


def bert_shapes(config: Mapping[str, object]) -> Shapes:
    """BertForSequenceClassification."""
    width = _number(config, "hidden_size")
    return {
        **_encoder_shapes(config, "bert."),
        "bert.pooler.dense.weight": (width, width),
        "bert.pooler.dense.bias": (width,),
        "classifier.weight": (1, width),
        "classifier.bias": (1,),
    }


def xlm_roberta_shapes(config: Mapping[str, object]) -> Shapes:
    """XLMRobertaForSequenceClassification."""
    width = _number(config, "hidden_size")
    return {
        **_encoder_shapes(config, "roberta."),
        "classifier.dense.weight": (width, width),
        "classifier.dense.bias": (width,),
        "classifier.out_proj.weight": (1, width),
        "classifier.out_proj.bias": (1,),
    }


def modernbert_shapes(config: Mapping[str, object]) -> Shapes:
    """ModernBertForSequenceClassification; its first layer has no norm before attention."""
    width, inner = _number(config, "hidden_size"), _number(config, "intermediate_size")
    shapes: Shapes = {
        "model.embeddings.tok_embeddings.weight": (_number(config, "vocab_size"), width),
        "model.embeddings.norm.weight": (width,),
        "model.final_norm.weight": (width,),
        "head.dense.weight": (width, width),
        "head.norm.weight": (width,),
        "classifier.weight": (1, width),
        "classifier.bias": (1,),
    }
    for layer in range(_number(config, "num_hidden_layers")):
        own = f"model.layers.{layer}."
        shapes |= {
            f"{own}attn.Wqkv.weight": (3 * width, width),
            f"{own}attn.Wo.weight": (width, width),
            f"{own}mlp_norm.weight": (width,),
            f"{own}mlp.Wi.weight": (2 * inner, width),
            f"{own}mlp.Wo.weight": (width, inner),
        }
        if layer:
            shapes[f"{own}attn_norm.weight"] = (width,)
    return shapes


def decoder_shapes(config: Mapping[str, object]) -> Shapes:
    """Gemma, Gemma2, MiniCPM, Qwen2, Qwen3, with the head the architecture names."""
    width, kind = _number(config, "hidden_size"), config["model_type"]
    shapes: Shapes = {
        "model.embed_tokens.weight": (_number(config, "vocab_size"), width),
        "model.norm.weight": (width,),
        **_head_shapes(config),
    }
    for layer in range(_number(config, "num_hidden_layers")):
        prefix = f"model.layers.{layer}."
        norms = ["input_layernorm", "post_attention_layernorm"]
        if kind == "cost_wise_gemma":
            norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
        shapes |= {f"{prefix}{norm}.weight": (width,) for norm in norms}
        shapes |= _attention_shapes(config, f"{prefix}self_attn.")
        inner = _number(config, "intermediate_size")
        shapes |= {
            f"{prefix}mlp.gate_proj.weight": (inner, width),
            f"{prefix}mlp.up_proj.weight": (inner, width),
            f"{prefix}mlp.down_proj.weight": (width, inner),
        }
    return shapes


def _attention_shapes(config: Mapping[str, object], prefix: str) -> Shapes:
    width, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    head = int(str(config.get("head_dim", width // heads)))
    sizes = {
        "q_proj": heads * head,
        "k_proj": _number(config, "num_key_value_heads") * head,
        "v_proj": _number(config, "num_key_value_heads") * head,
    }
    shapes: Shapes = {f"{prefix}{name}.weight": (size, width) for name, size in sizes.items()}
    shapes[f"{prefix}o_proj.weight"] = (width, heads * head)
    if config["model_type"] == "qwen2":
        shapes |= {f"{prefix}{name}.bias": (size,) for name, size in sizes.items()}
    if config["model_type"] == "qwen3":
        shapes |= {f"{prefix}{name}.weight": (head,) for name in ("q_norm", "k_norm")}
    return shapes


def _head_shapes(config: Mapping[str, object]) -> Shapes:
    width = _number(config, "hidden_size")
    if "start_layer" in config:
        heads = _number(config, "num_hidden_layers") - _number(config, "start_layer") + 1
        return {f"lm_head.{number}.linear_head.weight": (1, width) for number in range(heads)}
    if "id2label" in config:
        return {"score.weight": (1, width)}
    return {}  # tied to the embedding


def _encoder_shapes(config: Mapping[str, object], prefix: str) -> Shapes:
    width, inner = _number(config, "hidden_size"), _number(config, "intermediate_size")
    tables = {
        "word": _number(config, "vocab_size"),
        "position": _number(config, "max_position_embeddings"),
        "token_type": _number(config, "type_vocab_size"),
    }
    shapes: Shapes = {
        f"{prefix}embeddings.{name}_embeddings.weight": (rows, width)
        for name, rows in tables.items()
    }
    norms = [f"{prefix}embeddings.LayerNorm"]
    for layer in range(_number(config, "num_hidden_layers")):
        own = f"{prefix}encoder.layer.{layer}."
        linears = {
            "attention.self.query": (width, width),
            "attention.self.key": (width, width),
            "attention.self.value": (width, width),
            "attention.output.dense": (width, width),
            "intermediate.dense": (inner, width),
            "output.dense": (width, inner),
        }
        for name, shape in linears.items():
            shapes |= {f"{own}{name}.weight": shape, f"{own}{name}.bias": (shape[0],)}
        norms += [f"{own}attention.output.LayerNorm", f"{own}output.LayerNorm"]
    for norm in norms:
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return shapes


def _number(config: Mapping[str, object], key: str) -> int:
    value = config[key]
    assert isinstance(value, int)
    return value
