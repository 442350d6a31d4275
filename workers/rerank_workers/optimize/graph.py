"""Writes the forward pass of a BERT-shaped cross-encoder as an OpenVINO graph.

The same arrangement as torch's (`engines/bert_weights.py`): one product for queries, keys and
values, the last layer for the first token alone. The linear layers are named, so that a quantiser
can be told which to leave alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op
from torch import Tensor

from rerank_workers.engines.bert_weights import Affine, BertWeights, LayerWeights, Norm

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
POOL = "head.pool"

_MASKED = np.float32(-1e30)
"""Added to the score of padding: exp of it is 0 in every format, and it is finite in bf16."""


def layer_names(index: int) -> tuple[str, ...]:
    """Name the operations of a layer that a quantiser may touch."""
    kinds = ("joined", "queries", "others", "attention", "attended", "up", "down")
    return tuple(f"layer{index}.{kind}" for kind in kinds)


def build(weights: BertWeights) -> ov.Model:
    """Make the graph: int64 `input_ids`, `attention_mask` and `token_type_ids` (rows, longest).

    Its one output `logits` has shape (rows,). The weights are copied, in fp32.
    """
    assert weights.head is not None, "arranged for logits"
    ids, mask, types = (_parameter(name) for name in INPUTS)
    graph = _Graph(weights, op.unsqueeze(_penalty(mask), _integers(1, 2)))
    x = graph.embedded(ids, types)
    for index, layer in enumerate(weights.layers[:-1]):
        x = graph.layer(x, layer, f"layer{index}")
    x = graph.last_layer(x, weights.layers[-1], f"layer{len(weights.layers) - 1}")
    pool, classify = weights.head
    pooled = op.tanh(_linear(op.squeeze(x, _integers(1)), pool, POOL))
    # As a matrix product it would end in bf16, in steps of 0.06 above 8; these stay in fp32.
    weighted = op.multiply(pooled, _constant(classify.weight))
    logits = op.add(op.reduce_sum(weighted, _integers(1), False), _constant(classify.bias))
    logits.output(0).get_tensor().set_names({"logits"})
    return ov.Model([op.result(logits)], [ids, mask, types], "cross_encoder")


@dataclass(frozen=True, slots=True)
class _Graph:
    weights: BertWeights
    penalty: ov.Node
    """Added to attention's scores, (rows, 1, 1, longest)."""

    def embedded(self, ids: ov.Node, types: ov.Node) -> ov.Node:
        tables = self.weights
        words = op.gather(_constant(tables.words), ids, _integer(0))
        places = op.gather(_constant(tables.positions), self._places(ids), _integer(0))
        # A model with one token type was given none (XLM-RoBERTa), whatever the tokenizer says.
        kinds = (
            op.gather(_constant(tables.types), types, _integer(0))
            if len(tables.types) > 1
            else _constant(tables.types)
        )
        if len(tables.types) == 1:
            # The input must have a reader, or the graph would lose it.
            nothing = op.multiply(op.convert(types, "f32"), op.constant(np.float32(0)))
            words = op.add(words, op.unsqueeze(nothing, _integers(2)))
        return _normalized(op.add(op.add(words, kinds), places), tables.norm)

    def layer(self, x: ov.Node, layer: LayerWeights, name: str) -> ov.Node:
        query, key, value = self._heads(_linear(x, layer.joined, f"{name}.joined"), 3)
        return self._rest(x, self._attended(query, key, value, name), layer, name)

    def last_layer(self, x: ov.Node, layer: LayerWeights, name: str) -> ov.Node:
        width = len(layer.joined.bias) // 3
        queries, others = (
            Affine(layer.joined.weight[part], layer.joined.bias[part])
            for part in (slice(width), slice(width, None))
        )
        first = op.slice(x, _integers(0), _integers(1), _integers(1), _integers(1))
        (query,) = self._heads(_linear(first, queries, f"{name}.queries"), 1)
        key, value = self._heads(_linear(x, others, f"{name}.others"), 2)
        return self._rest(first, self._attended(query, key, value, name), layer, name)

    def _places(self, ids: ov.Node) -> ov.Node:
        """Index the position table as transformers does: from 0, or past RoBERTa's padding id."""
        if self.weights.offset_pad is None:
            longest = op.gather(op.shape_of(ids, "i64"), _integer(1), _integer(0))
            return op.range(_integer(0), longest, _integer(1), "i64")
        pad = _integer(self.weights.offset_pad)
        real = op.convert(op.not_equal(ids, pad), "i64")
        return op.add(op.multiply(op.cum_sum(real, _integer(1)), real), pad)

    def _heads(self, x: ov.Node, parts: int) -> list[ov.Node]:
        """(rows, tokens, parts * width) to tensors (rows, heads, tokens, width of a head)."""
        shape = _integers(0, 0, parts, self.weights.heads, -1)
        split = op.transpose(op.reshape(x, shape, True), _integers(2, 0, 3, 1, 4))
        if parts == 1:
            return [op.squeeze(split, _integers(0))]
        outputs = op.split(split, _integer(0), parts).outputs()
        return [op.squeeze(output, _integers(0)) for output in outputs]

    def _attended(self, query: ov.Node, key: ov.Node, value: ov.Node, name: str) -> ov.Node:
        one = op.constant(np.float32(1))  # the scale is in the queries' weight
        found = op.scaled_dot_product_attention(query, key, value, self.penalty, one)
        found.set_friendly_name(f"{name}.attention")
        joined = op.transpose(found, _integers(0, 2, 1, 3))
        return op.reshape(joined, _integers(0, 0, -1), True)

    def _rest(self, x: ov.Node, gathered: ov.Node, layer: LayerWeights, name: str) -> ov.Node:
        attended = _linear(gathered, layer.attended, f"{name}.attended")
        x = _normalized(op.add(attended, x), layer.attended_norm)
        wide = self._activated(_linear(x, layer.up, f"{name}.up"))
        return _normalized(op.add(_linear(wide, layer.down, f"{name}.down"), x), layer.norm)

    def _activated(self, x: ov.Node) -> ov.Node:
        match self.weights.activation:
            case "relu":
                return op.relu(x)
            case "gelu":
                return op.gelu(x, "erf")
            case _:
                return op.gelu(x, "tanh")


def _parameter(name: str) -> ov.Node:
    parameter = op.parameter([-1, -1], np.int64, name=name)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def _penalty(mask: ov.Node) -> ov.Node:
    beyond = op.subtract(op.constant(np.float32(1)), op.convert(mask, "f32"))
    return op.multiply(beyond, op.constant(_MASKED))


def _linear(x: ov.Node, affine: Affine, name: str) -> ov.Node:
    product = op.matmul(x, _constant(affine.weight), False, True)
    product.set_friendly_name(name)
    return op.add(product, _constant(affine.bias))


def _normalized(x: ov.Node, norm: Norm) -> ov.Node:
    standard = op.mvn(x, _integers(-1), True, norm.epsilon, "inside_sqrt")
    return op.add(op.multiply(standard, _constant(norm.weight)), _constant(norm.bias))


def _constant(tensor: Tensor) -> ov.Node:
    array: NDArray[np.float32] = np.ascontiguousarray(tensor.detach().float().numpy())
    return op.constant(array)


def _integer(value: int) -> ov.Node:
    return op.constant(np.int64(value))


def _integers(*values: int) -> ov.Node:
    return op.constant(np.array(values, dtype=np.int64))
