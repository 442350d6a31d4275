"""Turns a dynamically quantised BERT in ONNX back into float32 weights under their own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rerank_server.catalog.onnx_file import OnnxFile
from rerank_server.errors import CatalogError

_SUFFIX = "_quantized"

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]


def float_weights(model: OnnxFile) -> Weights:
    """Compute (q - zero) * scale for every quantised weight; float weights stay as they are.

    The exporter renames the weight of a linear layer (`onnx::MatMul_1662`) and stores it as
    (in, out); its module is still told by the node's name
    (`/bert/encoder/layer.0/attention/self/query/MatMul_quant`). Such weights come out under
    `<module>.weight`, shape (out, in), as PyTorch keeps them.

    Raises:
        CatalogError: a quantised weight has no scale, or no node tells whose it is.
    """
    weights = {
        name: np.asarray(tensor, dtype=np.float32)
        for name, tensor in model.tensors.items()
        if not name.endswith((_SUFFIX, "_scale", "_zero_point"))
    }
    modules = _linear_modules(model)
    for name in model.tensors:
        if not name.endswith(_SUFFIX):
            continue
        base = name.removesuffix(_SUFFIX)
        module = modules.get(name)
        if module is not None:
            weights[f"{module}.weight"] = np.ascontiguousarray(_dequantized(model, base).T)
        elif base.endswith(".weight"):
            weights[base] = _dequantized(model, base)
        else:
            raise CatalogError(f"quantised weight {base!r} belongs to no layer of the model")
    return weights


def _linear_modules(model: OnnxFile) -> Mapping[str, str]:
    """Name of the module each quantised matrix belongs to, by the matrix's tensor name."""
    return {
        node.inputs[1]: ".".join(node.name.strip("/").split("/")[:-1])
        for node in model.nodes
        if node.op_type == "MatMulInteger" and node.inputs[1] in model.tensors
    }


def _dequantized(model: OnnxFile, base: str) -> NDArray[np.float32]:
    try:
        quantized = model.tensors[base + _SUFFIX]
        zero = model.tensors[base + "_zero_point"]
        scale = model.tensors[base + "_scale"]
    except KeyError as error:
        raise CatalogError(f"quantised weight {base!r} lacks {error.args[0]!r}") from error
    # Per-tensor values are scalars; per-column ones broadcast over the last axis.
    steps = quantized.astype(np.int32) - zero.astype(np.int32)
    return steps.astype(np.float32) * scale.astype(np.float32)
