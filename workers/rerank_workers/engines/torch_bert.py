"""The forward pass of BERT-shaped encoders (BERT, RoBERTa, XLM-RoBERTa) in plain torch.

It exists beside transformers' own classes for two reasons: importing those takes longer than
loading and warming up a small model (they pull in torch's compiler and sympy), and the last layer
here computes only the token that is read. The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from rerank_workers.engines.engine import Output
from rerank_workers.engines.files import ModelFiles, ModelFilesError

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "gelu": functional.gelu,
        "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
        "gelu_pytorch_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "relu": functional.relu,
    }
)

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
class Linear:
    """Weight (out, in) and bias (out)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation over the last axis."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, slots=True)
class Layer:
    """One post-norm transformer layer."""

    query: Linear
    key: Linear
    value: Linear
    attended: Linear
    attended_norm: Norm
    up: Linear
    down: Linear
    norm: Norm
    heads: int
    activation: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor, rows: Tensor, mask: Tensor | None) -> Tensor:
        """Compute the new state of `rows` (some or all tokens of `x`), which attend to all of `x`.

        Args:
            x: state of every token, (batch, longest, width).
            rows: state of the tokens to compute, (batch, some, width).
            mask: True where a token may be attended to, (batch, 1, 1, longest); None for all.
        """
        context = functional.scaled_dot_product_attention(
            self._split(self.query(rows)),
            self._split(self.key(x)),
            self._split(self.value(x)),
            attn_mask=mask,
        )
        joined = context.transpose(1, 2).flatten(2)
        rows = self.attended_norm(self.attended(joined) + rows)
        return self.norm(self.down(self.activation(self.up(rows))) + rows)

    def _split(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to (batch, heads, tokens, width of a head)."""
        batch, tokens, _ = x.shape
        return x.view(batch, tokens, self.heads, -1).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Bert:
    """The encoder and, when loaded for logits, the head on its first token."""

    words: Tensor
    positions: Tensor
    types: Tensor
    norm: Norm
    layers: tuple[Layer, ...]
    head: tuple[Linear, Linear] | None
    offset_pad: int | None
    """RoBERTa's padding id, from which its positions count; None where they count from 0."""

    def __call__(self, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
        """Compute logits (batch,) or, without a head, the last states (batch, longest, width)."""
        x = self._embed(ids, types)
        attends = None if bool(mask.all()) else mask.bool()[:, None, None, :]
        for layer in self.layers[:-1]:
            x = layer(x, x, attends)
        if self.head is None:
            return self.layers[-1](x, x, attends)
        first = self.layers[-1](x, x[:, :1], attends)[:, 0]
        pool, classify = self.head
        return classify(torch.tanh(pool(first))).reshape(-1)

    def _embed(self, ids: Tensor, types: Tensor) -> Tensor:
        if self.offset_pad is None:
            places = torch.arange(ids.shape[1], device=ids.device)
        else:
            real = (ids != self.offset_pad).to(torch.int64)
            places = torch.cumsum(real, dim=1) * real + self.offset_pad
        # A model with one token type was given none (XLM-RoBERTa), whatever the tokenizer says.
        kinds = types if len(self.types) > 1 else torch.zeros_like(types)
        return self.norm(self.words[ids] + self.positions[places] + self.types[kinds])


def supports(files: ModelFiles, output: Output) -> bool:
    """Tell whether this forward pass is the model's own, going by its config."""
    config = files.config
    name = files.architectures[0] if files.architectures else ""
    return (
        files.model_type in _HEADS
        and config.get("position_embedding_type", "absolute") == "absolute"
        and config.get("hidden_act", "gelu") in _ACTIVATIONS
        and not config.get("is_decoder")
        and (output is Output.HIDDEN or name.endswith("ForSequenceClassification"))
    )


def build(files: ModelFiles, weights: Mapping[str, Tensor], output: Output) -> Bert:
    """Arrange a checkpoint's tensors into the model `supports` said yes to.

    Raises:
        ModelFilesError: a tensor is missing, or the head has more labels than one.
    """
    prefix = next((n.removesuffix(_EMBEDDINGS) for n in weights if n.endswith(_EMBEDDINGS)), "")
    parts = _Parts(files, weights, prefix)
    is_offset = files.model_type != "bert"
    return Bert(
        words=parts.tensor(prefix + _EMBEDDINGS),
        positions=parts.tensor(f"{prefix}embeddings.position_embeddings.weight"),
        types=parts.tensor(f"{prefix}embeddings.token_type_embeddings.weight"),
        norm=parts.norm("embeddings.LayerNorm"),
        layers=tuple(parts.layer(index) for index in range(parts.count("num_hidden_layers"))),
        head=parts.head() if output is Output.LOGIT else None,
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

    def linear(self, name: str) -> Linear:
        return Linear(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"))

    def norm(self, name: str) -> Norm:
        name = self.prefix + name
        return Norm(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"), self.epsilon())

    def layer(self, index: int) -> Layer:
        layer = f"encoder.layer.{index}"
        own = self.prefix + layer
        return Layer(
            query=self.linear(f"{own}.attention.self.query"),
            key=self.linear(f"{own}.attention.self.key"),
            value=self.linear(f"{own}.attention.self.value"),
            attended=self.linear(f"{own}.attention.output.dense"),
            attended_norm=self.norm(f"{layer}.attention.output.LayerNorm"),
            up=self.linear(f"{own}.intermediate.dense"),
            down=self.linear(f"{own}.output.dense"),
            norm=self.norm(f"{layer}.output.LayerNorm"),
            heads=self.count("num_attention_heads"),
            activation=_ACTIVATIONS[str(self.files.config.get("hidden_act", "gelu"))],
        )

    def head(self) -> tuple[Linear, Linear]:
        pool, classify = (self.linear(name) for name in _HEADS[self.files.model_type])
        if len(classify.weight) != 1:
            raise ModelFilesError(
                f"{self.files.directory}: the model has {len(classify.weight)} labels; "
                "a reranker has one"
            )
        return pool, classify
