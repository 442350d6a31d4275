"""The forward pass of BERT-shaped encoders (BERT, RoBERTa, XLM-RoBERTa) in plain torch.

It exists beside transformers' own classes for two reasons: importing those takes longer than
loading and warming up a small model (they pull in torch's compiler and sympy), and it computes
nothing that is not read. Tokens of all rows lie end to end, so that the linear layers see no
padding; the last layer computes only the token a logit is read from. The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rerank_workers.engines.batch import Row
from rerank_workers.engines.bert_weights import Affine, BertWeights, LayerWeights, Norm
from rerank_workers.engines.packed import Packed, pack, rectangle
from rerank_workers.engines.torch_attention import Span, attend_all, attend_first, spans
from rerank_workers.engines.torch_linear import GELU, GELU_TANH, RELU, Activation, Linear, linear

_ACTIVATIONS = {"gelu": GELU, "gelu_new": GELU_TANH, "gelu_pytorch_tanh": GELU_TANH, "relu": RELU}


@dataclass(frozen=True, slots=True)
class Rest:
    """What follows attention in a post-norm transformer layer."""

    attended: Linear
    attended_norm: Norm
    up: Linear
    down: Linear
    norm: Norm
    activation: Activation

    def __call__(self, gathered: Tensor, x: Tensor) -> Tensor:
        """Compute the new state of the tokens `x`, (tokens, width), from what they gathered."""
        x = _normalized(self.attended.added(gathered, x), self.attended_norm)
        return _normalized(self.down.added(self.up.activated(x, self.activation), x), self.norm)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that computes every token."""

    joined: Linear
    rest: Rest
    heads: int

    def __call__(self, x: Tensor, batch: Sequence[Span]) -> Tensor:
        """Compute the new state of every token, (tokens, width)."""
        return self.rest(attend_all(batch, self.joined(x), self.heads), x)


@dataclass(frozen=True, slots=True)
class LastLayer:
    """The last layer where only first tokens are read."""

    queries: Linear
    others: Linear
    """Keys and values."""
    rest: Rest
    heads: int

    def __call__(self, x: Tensor, firsts: Tensor, batch: Sequence[Span]) -> Tensor:
        """Compute the new state of the first tokens, (rows, width)."""
        read = x[firsts]
        return self.rest(attend_first(batch, self.queries(read), self.others(x), self.heads), read)


class Bert:
    """The encoder and, when its weights have one, the head on its first token."""

    def __init__(self, weights: BertWeights, device: torch.device, dtype: torch.dtype) -> None:
        """Lay the weights out for a device; afterwards nothing of `weights` is held on a CPU."""
        self._device = device
        self._dtype = dtype
        self._offset_pad = weights.offset_pad
        self._words, self._positions, self._types = (
            _own(table, device, dtype)
            for table in (weights.words, weights.positions, weights.types)
        )
        self._norm = self._own_norm(weights.norm)
        whole = weights.layers if weights.head is None else weights.layers[:-1]
        self._layers = tuple(self._layer(layer, weights) for layer in whole)
        self._last = None if weights.head is None else self._last_layer(weights)
        # The head is a few thousand multiplications; in half precision it would round the logit.
        self._head = [self._plain(affine) for affine in weights.head or ()]

    def logits(self, rows: Sequence[Row]) -> Tensor:
        """Compute one logit a row, (rows,), fp32, in the order of `rows`."""
        assert self._last is not None, "loaded for logits"
        packed = self._laid_out(rows)
        batch = spans(packed, self._device, self._dtype)
        x = self._encoded(packed, batch)
        first = self._last(x, torch.from_numpy(packed.firsts).to(self._device), batch).float()
        pool, classify = self._head
        found = classify(torch.tanh(pool(first))).reshape(-1)
        logits = torch.empty_like(found)
        logits[torch.from_numpy(packed.order).to(self._device)] = found
        return logits

    def states(self, rows: Sequence[Row]) -> list[Tensor]:
        """Compute the last state of every token, (tokens, width) for each row, in their order."""
        packed = self._laid_out(rows)
        x = self._encoded(packed, spans(packed, self._device, self._dtype))
        found = [x[:0]] * len(rows)
        lies_at = zip(packed.order, packed.firsts, packed.lengths, strict=True)
        for index, first, length in lies_at:
            found[index] = x[first : first + length]
        return found

    def _laid_out(self, rows: Sequence[Row]) -> Packed:
        """A GPU wants few large kernels, a CPU no padding."""
        if self._device.type == "cpu":
            return pack(rows, self._offset_pad)
        return rectangle(rows, self._offset_pad, pad_id=0)

    def _encoded(self, packed: Packed, batch: Sequence[Span]) -> Tensor:
        ids, places, types = (
            torch.from_numpy(array).to(self._device)
            for array in (packed.ids, packed.places, packed.types)
        )
        # A model with one token type was given none (XLM-RoBERTa), whatever the tokenizer says.
        kinds = types if len(self._types) > 1 else torch.zeros_like(types)
        x = _normalized(self._words[ids] + self._positions[places] + self._types[kinds], self._norm)
        for layer in self._layers:
            x = layer(x, batch)
        return x

    def _layer(self, layer: LayerWeights, weights: BertWeights) -> Layer:
        return Layer(self._linear(layer.joined), self._rest(layer, weights), weights.heads)

    def _last_layer(self, weights: BertWeights) -> LastLayer:
        layer = weights.layers[-1]
        width = len(layer.joined.bias) // 3
        queries, others = (
            self._linear(Affine(layer.joined.weight[part], layer.joined.bias[part]))
            for part in (slice(width), slice(width, None))
        )
        return LastLayer(queries, others, self._rest(layer, weights), weights.heads)

    def _rest(self, layer: LayerWeights, weights: BertWeights) -> Rest:
        return Rest(
            attended=self._linear(layer.attended),
            attended_norm=self._own_norm(layer.attended_norm),
            up=self._linear(layer.up),
            down=self._linear(layer.down),
            norm=self._own_norm(layer.norm),
            activation=_ACTIVATIONS[weights.activation],
        )

    def _linear(self, affine: Affine) -> Linear:
        return linear(affine.weight, affine.bias, self._device, self._dtype)

    def _plain(self, affine: Affine) -> Linear:
        weight, bias = (_own(t, self._device, torch.float32) for t in (affine.weight, affine.bias))
        return Linear(weight, bias, is_prepacked=False)

    def _own_norm(self, norm: Norm) -> Norm:
        weight, bias = (_own(t, self._device, self._dtype) for t in (norm.weight, norm.bias))
        return Norm(weight, bias, norm.epsilon)


def _own(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Copy a tensor: one view of a mapped checkpoint would keep all of it resident."""
    return tensor.to(device, dtype, copy=True)


def _normalized(x: Tensor, norm: Norm) -> Tensor:
    return functional.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.epsilon)
