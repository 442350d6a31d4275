from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from rerank_server.catalog import onnx_file
from rerank_server.catalog.dequantize import float_weights
from rerank_server.errors import CatalogError


def test_a_matrix_gets_its_layers_name_and_torchs_orientation(
    tmp_path: Path, tiny_onnx: bytes
) -> None:
    (tmp_path / "m.onnx").write_bytes(tiny_onnx)

    weights = float_weights(onnx_file.read(tmp_path / "m.onnx"))

    expected = (np.array([[-128, 0, 127], [1, 2, 3]], dtype=np.float32) - 3) * 0.25
    np.testing.assert_array_equal(weights["classifier.dense.weight"], expected.T)
    assert weights["classifier.dense.weight"].flags.c_contiguous


def test_embeddings_keep_name_and_orientation_and_floats_are_untouched(
    tmp_path: Path, tiny_onnx: bytes
) -> None:
    (tmp_path / "m.onnx").write_bytes(tiny_onnx)

    weights = float_weights(onnx_file.read(tmp_path / "m.onnx"))

    expected = (np.array([[128, 0, 127], [1, 2, 3]], dtype=np.float32) - 3) * 0.25
    np.testing.assert_array_equal(weights["emb.weight"], expected)
    np.testing.assert_array_equal(weights["classifier.bias"], np.array([0.5], dtype=np.float32))
    assert set(weights) == {"classifier.dense.weight", "emb.weight", "classifier.bias"}
    assert {weight.dtype.name for weight in weights.values()} == {"float32"}


def test_a_scale_per_column_applies_to_its_column(tmp_path: Path) -> None:
    tensors = [
        numpy_helper.from_array(np.array([[10, 10], [20, 20]], dtype=np.int8), "m_quantized"),
        numpy_helper.from_array(np.array([0, 10], dtype=np.int8), "m_zero_point"),
        numpy_helper.from_array(np.array([1.0, 0.5], dtype=np.float32), "m_scale"),
    ]
    node = helper.make_node("MatMulInteger", ["a", "m_quantized"], ["y"], name="/layer/MatMul")
    graph = helper.make_graph([node], "g", [], [], initializer=tensors)
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())

    weights = float_weights(onnx_file.read(tmp_path / "m.onnx"))

    np.testing.assert_array_equal(weights["layer.weight"], [[10.0, 20.0], [0.0, 5.0]])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["x.weight_quantized", "x.weight_zero_point"], "lacks 'x.weight_scale'"),
        (["onnx::9_quantized", "onnx::9_zero_point", "onnx::9_scale"], "belongs to no layer"),
    ],
)
def test_a_matrix_that_cannot_be_placed_is_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    tensors = [helper.make_tensor(name, TensorProto.INT8, [1], [1]) for name in names]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [], [], initializer=tensors)
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())

    with pytest.raises(CatalogError, match=message):
        float_weights(onnx_file.read(tmp_path / "m.onnx"))
