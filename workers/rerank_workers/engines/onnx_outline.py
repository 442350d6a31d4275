"""Reads which operators and outputs an ONNX file has, without the `onnx` package."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rerank_workers.engines.files import ModelFilesError

# Field numbers of onnx.proto: ModelProto.graph, GraphProto.node and .output, NodeProto.op_type,
# ValueInfoProto.name. https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
_MODEL_GRAPH = 7
_GRAPH_NODE = 1
_GRAPH_OUTPUT = 12
_NODE_OP_TYPE = 4
_VALUE_NAME = 1

# The scale of such an operator is taken from the whole tensor at run time, hence from all rows of
# the batch and its padding: a row's result depends on its neighbours.
_BATCH_DEPENDENT = frozenset({"DynamicQuantizeLinear"})
_INT8 = frozenset(
    {
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "QLinearMatMul",
    }
)


@dataclass(frozen=True, slots=True)
class OnnxOutline:
    """What can be told of a graph without running it."""

    operators: frozenset[str]
    outputs: tuple[str, ...]

    @property
    def keeps_rows_apart(self) -> bool:
        """Whether a row's result is the same whichever rows stand beside it."""
        return not self.operators & _BATCH_DEPENDENT

    @property
    def precision(self) -> str:
        """A word for people: what the matrix products are computed in."""
        if not self.operators & _INT8:
            return "float32"
        return "int8" if self.keeps_rows_apart else "int8, dynamic per tensor"


def read_outline(path: Path) -> OnnxOutline:
    """Walk the graph of an ONNX file; its weights are stepped over, not read.

    Raises:
        ModelFilesError: the file is not ONNX, or cut off.
    """
    operators: set[str] = set()
    outputs: list[str] = []
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for graph in _fields(data, 0, len(data), _MODEL_GRAPH):
                for node in _fields(data, *graph, _GRAPH_NODE):
                    operators.update(_texts(data, *node, _NODE_OP_TYPE))
                for value in _fields(data, *graph, _GRAPH_OUTPUT):
                    outputs.extend(_texts(data, *value, _VALUE_NAME))
    except (ValueError, IndexError) as error:
        raise ModelFilesError(f"{path}: not an ONNX file, or cut off") from error
    if not outputs:
        raise ModelFilesError(f"{path}: not an ONNX file, or cut off")
    return OnnxOutline(frozenset(operators), tuple(outputs))


def _texts(data: mmap.mmap, start: int, end: int, number: int) -> Iterator[str]:
    for first, last in _fields(data, start, end, number):
        yield data[first:last].decode("utf-8")


def _fields(data: mmap.mmap, start: int, end: int, number: int) -> Iterator[tuple[int, int]]:
    """Yield where the message's length-delimited fields of that number begin and end."""
    at = start
    while at < end:
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case 2:
                size, at = _varint(data, at)
                if at + size > end:
                    raise ValueError("a field reaches beyond its message")
                if key >> 3 == number:
                    yield at, at + size
                at += size
            case wire:
                raise ValueError(f"wire type {wire}")


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number longer than 64 bits")
