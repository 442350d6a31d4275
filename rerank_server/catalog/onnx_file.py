"""Reads the weights and node names of an ONNX file, without the onnx package.

Only what a dequantiser needs is decoded. Field numbers are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto):

- ModelProto: graph 7
- GraphProto: node 1, initializer 5
- NodeProto: input 1, output 2, name 3, op_type 4
- TensorProto: dims 1, data_type 2, float_data 4, int32_data 5, name 8, raw_data 9,
  external_data 13
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rerank_server.errors import CatalogError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# TensorProto.DataType; the three that quantised BERT files hold.
_FLOAT, _UINT8, _INT8 = 1, 2, 3
_DTYPES: Mapping[int, np.dtype[np.generic]] = MappingProxyType(
    {_FLOAT: np.dtype("<f4"), _UINT8: np.dtype("u1"), _INT8: np.dtype("i1")}
)

Array: TypeAlias = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the graph."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """The decoded part of one file."""

    nodes: tuple[Node, ...]
    tensors: Mapping[str, Array]
    """Initialisers of the types float32, uint8 and int8, by name."""


def read(path: Path) -> OnnxFile:
    """Decode nodes and initialisers of one self-contained ONNX file.

    Raises:
        CatalogError: the file is not ONNX, is cut off, or keeps its weights elsewhere.
    """
    try:
        return _model(memoryview(path.read_bytes()))
    except (IndexError, ValueError) as error:
        raise CatalogError(f"{path}: not a complete ONNX file ({error})") from error


def _model(data: memoryview) -> OnnxFile:
    nodes: list[Node] = []
    tensors: dict[str, Array] = {}
    for number, value in _fields(data):
        if number != 7:
            continue
        for part, content in _fields(_bytes(value)):
            if part == 1:
                nodes.append(_node(_bytes(content)))
            elif part == 5:
                named = _tensor(_bytes(content))
                if named is not None:
                    tensors[named[0]] = named[1]
    if not nodes:
        raise ValueError("no graph in it")
    return OnnxFile(tuple(nodes), MappingProxyType(tensors))


def _node(data: memoryview) -> Node:
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [""], 4: [""]}
    for number, value in _fields(data):
        if number in texts:
            texts[number].append(str(_bytes(value), "utf-8"))
    return Node(texts[3][-1], texts[4][-1], tuple(texts[1]), tuple(texts[2]))


def _tensor(data: memoryview) -> tuple[str, Array] | None:
    dims: list[int] = []
    kind, name, raw = 0, "", None
    floats: list[memoryview] = []
    integers: list[int] = []
    for number, value in _fields(data):
        match number:
            case 1:
                dims.extend(_varints(value))
            case 2:
                kind = _integer(value)
            case 4:
                floats.append(_bytes(value))
            case 5:
                integers.extend(_varints(value))
            case 8:
                name = str(_bytes(value), "utf-8")
            case 9:
                raw = _bytes(value)
            case 13:
                raise ValueError(f"tensor {name!r} is stored outside the file")
    dtype = _DTYPES.get(kind)
    if dtype is None:
        return None
    if raw is not None:
        array: Array = np.frombuffer(raw, dtype=dtype)
    elif kind == _FLOAT:
        array = np.frombuffer(b"".join(floats), dtype=dtype)
    else:
        array = np.array([_signed(value) for value in integers]).astype(dtype)
    return name, array.reshape(dims)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Walk one protobuf message: (field number, varint or bytes)."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, at = _varint(data, at)
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire_type} at byte {at}")
        if at + size > len(data):
            raise ValueError("cut off")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError(f"number without end at byte {at}")


def _varints(value: int | memoryview) -> Iterator[int]:
    """Read a repeated integer field, packed or not."""
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        one, at = _varint(value, at)
        yield one


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _integer(value: int | memoryview) -> int:
    if isinstance(value, int):
        return value
    raise ValueError("bytes where a number belongs")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where bytes belong")
    return value
