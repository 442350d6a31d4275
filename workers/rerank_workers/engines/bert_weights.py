"""Arranges the checkpoint of a BERT-shaped encoder (BERT, RoBERTa, XLM-RoBERTa) for computing.

Queries, keys and values of a layer become one weight, with the scale of attention in it. Whoever
computes with it (torch here, OpenVINO's graph) reads the same arrangement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from rerank_workers.engines.engine import Output
from rerank_workers.engines.files import ModelFiles, ModelFilesError

ACTIVATIONS = frozenset({"gelu", "gelu_new", "gelu_pytorch_tanh", "relu"})

# The two linear layers on top of the first token, with a tanh between them.
_HEADS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "bert": ("bert.pooler.dense", "classifier"),
        "camembert": ("classifier.dense", "classifier.out_proj"),
        "roberta": ("classifier.dense", "classifier.out_proj"),
        "xlm-roberta": ("classifier.dense", "classifier.out_proj"),
    }
)
_EMBEDDINGS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True, slots=True)
class Affine:
    """Weight (out, in) and bias (out)."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation over the last axis."""

    weight: Tensor
    bias: Tensor
    epsilon: float


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One post-norm transformer layer."""

    joined: Affine
    """Queries (scaled), keys and values, (3 * width, width)."""
    attended: Affine
    attended_norm: Norm
    up: Affine
    down: Affine
    norm: Norm


@dataclass(frozen=True, slots=True)
class BertWeights:
    """A whole encoder and, when read for logits, the head on its first token."""

    words: Tensor
    positions: Tensor
    types: Tensor
    norm: Norm
    layers: tuple[LayerWeights, ...]
    head: tuple[Affine, Affine] | None
    heads: int
    """Of attention, in each layer."""
    activation: str
    offset_pad: int | None
    """RoBERTa's padding id, from which its positions count; None where they count from 0."""


def supports(files: ModelFiles, output: Output) -> bool:
    """Tell whether this arrangement is the model's own, going by its config."""
    config = files.config
    name = files.architectures[0] if files.architectures else ""
    return (
        files.model_type in _HEADS
        and config.get("position_embedding_type", "absolute") == "absolute"
        and config.get("hidden_act", "gelu") in ACTIVATIONS
        and not config.get("is_decoder")
        and (output is Output.HIDDEN or name.endswith("ForSequenceClassification"))
    )


def arrange(files: ModelFiles, weights: Mapping[str, Tensor], output: Output) -> BertWeights:
    """Arrange the tensors of a model `supports` said yes to; types stay as they are stored.

    Raises:
        ModelFilesError: a tensor is missing, or the head has more labels than one.
    """
    prefix = next((n.removesuffix(_EMBEDDINGS) for n in weights if n.endswith(_EMBEDDINGS)), "")
    parts = _Parts(files, weights, prefix)
    is_offset = files.model_type != "bert"
    return BertWeights(
        words=parts.tensor(prefix + _EMBEDDINGS),
        positions=parts.tensor(f"{prefix}embeddings.position_embeddings.weight"),
        types=parts.tensor(f"{prefix}embeddings.token_type_embeddings.weight"),
        norm=parts.norm("embeddings.LayerNorm"),
        layers=tuple(parts.layer(index) for index in range(parts.count("num_hidden_layers"))),
        head=parts.head() if output is Output.LOGIT else None,
        heads=parts.count("num_attention_heads"),
        activation=str(files.config.get("hidden_act", "gelu")),
        offset_pad=(1 if files.pad_token_id is None else files.pad_token_id) if is_offset else None,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """Finds parts of the model in a checkpoint by their names there."""

    files: ModelFiles
    weights: Mapping[str, Tensor]
    prefix: str

    def tensor(self, name: str) -> Tensor:
        try:
            return self.weights[name]
        except KeyError as error:
            where = self.files.weights[0]
            raise ModelFilesError(f"{where}: the tensor {name!r} is missing") from error

    def count(self, key: str) -> int:
        value = self.files.config.get(key)
        if not isinstance(value, int) or value < 1:
            raise ModelFilesError(f"{self.files.directory / 'config.json'}: {key}: {value!r}")
        return value

    def epsilon(self) -> float:
        # transformers' default, for configs that leave it out.
        value = self.files.config.get("layer_norm_eps", 1e-12)
        if not isinstance(value, int | float):
            raise ModelFilesError(
                f"{self.files.directory / 'config.json'}: layer_norm_eps: {value!r}"
            )
        return float(value)

    def affine(self, name: str) -> Affine:
        return Affine(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"))

    def norm(self, name: str) -> Norm:
        name = self.prefix + name
        return Norm(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"), self.epsilon())

    def layer(self, index: int) -> LayerWeights:
        layer = f"encoder.layer.{index}"
        own = self.prefix + layer
        return LayerWeights(
            joined=self.joined(f"{own}.attention.self"),
            attended=self.affine(f"{own}.attention.output.dense"),
            attended_norm=self.norm(f"{layer}.attention.output.LayerNorm"),
            up=self.affine(f"{own}.intermediate.dense"),
            down=self.affine(f"{own}.output.dense"),
            norm=self.norm(f"{layer}.output.LayerNorm"),
        )

    def joined(self, name: str) -> Affine:
        query, key, value = (self.affine(f"{name}.{part}") for part in ("query", "key", "value"))
        width = len(query.bias) // self.count("num_attention_heads")
        scale = float(width) ** -0.5
        # In fp32 first: a scale that is no power of two would round half-precision weights again.
        weights = [query.weight.float() * scale, key.weight.float(), value.weight.float()]
        biases = [query.bias.float() * scale, key.bias.float(), value.bias.float()]
        return Affine(torch.cat(weights), torch.cat(biases))

    def head(self) -> tuple[Affine, Affine]:
        pool, classify = (self.affine(name) for name in _HEADS[self.files.model_type])
        if len(classify.weight) != 1:
            raise ModelFilesError(
                f"{self.files.directory}: the model has {len(classify.weight)} labels; "
                "a reranker has one"
            )
        return pool, classify
