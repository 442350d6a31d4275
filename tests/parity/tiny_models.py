"""Tiny random models of the true architectures, the same in every environment.

Weights come from the raw 64-bit stream of PCG64, which numpy promises never to change, one stream
per tensor name; so neither the library nor the order of the tensors has a say. Needs numpy,
safetensors and tokenizers alone: the references' environments import it too.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from tests.parity import tiny_tokenizers
from tests.parity.tiny_shapes import (
    Shapes,
    bert_shapes,
    decoder_shapes,
    modernbert_shapes,
    xlm_roberta_shapes,
)

_SPREAD = 0.45
"""Weights lie evenly within this of their centre: logits of a few units, well apart."""


@dataclass(frozen=True)
class Tiny:
    """One model: its config, the shapes of its tensors, its tokenizer and that one's settings."""

    config: Mapping[str, object]
    shapes: Callable[[Mapping[str, object]], Shapes]
    tokenizer: Callable[[], Tokenizer]
    tokens: Mapping[str, object]
    norm_centre: float = 1.0
    """Around what the weights of norms lie: 0 where the model adds 1 to them."""


_DECODER: Mapping[str, object] = MappingProxyType(
    {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "initializer_range": 0.02,
        "torch_dtype": "float32",
        "use_cache": False,
    }
)
_ENCODER: Mapping[str, object] = MappingProxyType(
    {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "torch_dtype": "float32",
    }
)
_GEMMA_TOKENS = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
_QWEN_TOKENS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}

MODELS: Mapping[str, Tiny] = MappingProxyType(
    {
        "bert": Tiny(
            {
                **_ENCODER,
                "architectures": ["BertForSequenceClassification"],
                "model_type": "bert",
                "max_position_embeddings": 128,
                "type_vocab_size": 2,
                "pad_token_id": 0,
            },
            bert_shapes,
            tiny_tokenizers.bert,
            {"tokenizer_class": "BertTokenizerFast"},
        ),
        "xlm-roberta": Tiny(
            {
                **_ENCODER,
                "architectures": ["XLMRobertaForSequenceClassification"],
                "model_type": "xlm-roberta",
                "max_position_embeddings": 130,
                "type_vocab_size": 1,
                "pad_token_id": 1,
            },
            xlm_roberta_shapes,
            tiny_tokenizers.xlm_roberta,
            {"tokenizer_class": "XLMRobertaTokenizerFast"},
        ),
        "modernbert": Tiny(
            {
                **_ENCODER,
                "architectures": ["ModernBertForSequenceClassification"],
                "model_type": "modernbert",
                "max_position_embeddings": 256,
                "global_attn_every_n_layers": 3,
                "local_attention": 16,
                "classifier_pooling": "mean",
                "pad_token_id": 0,
                "cls_token_id": 2,
                "sep_token_id": 3,
                "bos_token_id": 2,
                "eos_token_id": 3,
            },
            modernbert_shapes,
            tiny_tokenizers.bert,
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "pad_token": "[PAD]",
                "model_input_names": ["input_ids", "attention_mask"],
            },
        ),
        "gemma": Tiny(
            {
                **_DECODER,
                "architectures": ["GemmaForCausalLM"],
                "model_type": "gemma",
                "num_key_value_heads": 1,
                "head_dim": 16,
                "hidden_act": "gelu",
                "pad_token_id": 0,
                "eos_token_id": 1,
                "bos_token_id": 2,
                "tie_word_embeddings": True,
            },
            decoder_shapes,
            tiny_tokenizers.gemma,
            {**_GEMMA_TOKENS, "padding_side": "left"},
            norm_centre=0.0,
        ),
        "minicpm-layerwise": Tiny(
            {
                **_DECODER,
                "architectures": ["LayerWiseMiniCPMForCausalLM"],
                "model_type": "minicpm",
                "num_hidden_layers": 6,
                "hidden_act": "silu",
                "rms_norm_eps": 1e-5,
                "scale_emb": 12,
                "scale_depth": 1.4,
                "dim_model_base": 16,
                "start_layer": 2,
                "head_multi": True,
                "head_type": "simple",
                "bos_token_id": 1,
                "eos_token_id": 2,
                "pad_token_id": 2,
                "tie_word_embeddings": False,
            },
            decoder_shapes,
            tiny_tokenizers.llama,
            {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"},
        ),
        "gemma2-lightweight": Tiny(
            {
                **_DECODER,
                "architectures": ["CostWiseGemmaForCausalLM"],
                "model_type": "cost_wise_gemma",
                "num_hidden_layers": 6,
                "head_dim": 16,
                "hidden_activation": "gelu_pytorch_tanh",
                "query_pre_attn_scalar": 16,
                "attn_logit_softcapping": 5.0,
                "final_logit_softcapping": 30.0,
                "sliding_window": 24,
                "start_layer": 2,
                "layer_sep": 1,
                "layer_wise": True,
                "pad_token_id": 0,
                "eos_token_id": 1,
                "bos_token_id": 2,
                "tie_word_embeddings": False,
            },
            decoder_shapes,
            tiny_tokenizers.gemma,
            _GEMMA_TOKENS,
            norm_centre=0.0,
        ),
        "qwen3": Tiny(
            {
                **_DECODER,
                "architectures": ["Qwen3ForCausalLM"],
                "model_type": "qwen3",
                "head_dim": 16,
                "hidden_act": "silu",
                "rope_theta": 1000000.0,
                "tie_word_embeddings": True,
            },
            decoder_shapes,
            tiny_tokenizers.qwen,
            {**_QWEN_TOKENS, "padding_side": "left"},
        ),
        "qwen3-seq-cls": Tiny(
            {
                **_DECODER,
                "architectures": ["Qwen3ForSequenceClassification"],
                "model_type": "qwen3",
                "head_dim": 16,
                "hidden_act": "silu",
                "rope_theta": 1000000.0,
                "id2label": {"0": "LABEL_0"},
                "label2id": {"LABEL_0": 0},
                "tie_word_embeddings": False,
            },
            decoder_shapes,
            tiny_tokenizers.qwen,
            {**_QWEN_TOKENS, "padding_side": "left"},
        ),
        "qwen2-mxbai": Tiny(
            {
                **_DECODER,
                "architectures": ["Qwen2ForCausalLM"],
                "model_type": "qwen2",
                "hidden_act": "silu",
                "rope_theta": 1000000.0,
                "tie_word_embeddings": True,
            },
            decoder_shapes,
            tiny_tokenizers.qwen,
            {**_QWEN_TOKENS, "padding_side": "right"},
        ),
    }
)


def build(name: str, directory: Path, seed: int = 7) -> Path:
    """Write the model of that name, its tokenizer beside it, into `directory`/model."""
    tiny = MODELS[name]
    tokenizer = tiny.tokenizer()
    config = {**tiny.config, "vocab_size": tokenizer.get_vocab_size()}
    if config["model_type"] in ("qwen2", "qwen3"):
        config["pad_token_id"] = tokenizer.token_to_id("<|endoftext|>")
    target = directory / "model"
    target.mkdir(parents=True)
    tensors = {
        key: _tensor(f"{name}/{key}", shape, seed, tiny.norm_centre)
        for key, shape in tiny.shapes(config).items()
    }
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(target / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **tiny.tokens}
    _write(target / "config.json", config)
    _write(target / "tokenizer_config.json", settings)
    return directory


def _tensor(
    name: str, shape: tuple[int, ...], seed: int, norm_centre: float
) -> NDArray[np.float32]:
    count = int(np.prod(shape))
    stream = np.random.PCG64([seed, zlib.crc32(name.encode("ascii"))])
    even = (stream.random_raw(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    centre = norm_centre if "norm" in name.lower() and name.endswith("weight") else 0.0
    values: NDArray[np.float32] = ((even * 2 - 1) * _SPREAD + centre).astype(np.float32)
    return values.reshape(shape)


def _write(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
