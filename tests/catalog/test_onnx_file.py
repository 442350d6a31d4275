from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from rerank_server.catalog import onnx_file
from rerank_server.errors import CatalogError

_KINDS = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


def model_of(*tensors: onnx.TensorProto) -> bytes:
    node = helper.make_node("Identity", ["x"], ["y"], name="/only/node")
    graph = helper.make_graph([node], "g", [], [], initializer=list(tensors))
    content: bytes = helper.make_model(graph).SerializeToString()
    return content


@pytest.mark.parametrize("dtype", _KINDS)
@pytest.mark.parametrize("is_raw", [True, False])
def test_reads_what_the_onnx_package_wrote(tmp_path: Path, dtype: str, is_raw: bool) -> None:
    low = 0 if dtype == "uint8" else -120
    array = np.arange(low, low + 24).reshape(2, 3, 4).astype(dtype)
    if is_raw:
        tensor = numpy_helper.from_array(array, "w")
    else:
        tensor = helper.make_tensor("w", _KINDS[dtype], array.shape, array.flatten().tolist())
    (tmp_path / "m.onnx").write_bytes(model_of(tensor))

    read = onnx_file.read(tmp_path / "m.onnx")

    assert read.tensors["w"].dtype == array.dtype
    np.testing.assert_array_equal(read.tensors["w"], array)


def test_a_scalar_keeps_its_empty_shape(tmp_path: Path) -> None:
    scalar = helper.make_tensor("s", TensorProto.INT8, [], [-7])
    (tmp_path / "m.onnx").write_bytes(model_of(scalar))

    read = onnx_file.read(tmp_path / "m.onnx")

    assert read.tensors["s"].shape == ()
    assert int(read.tensors["s"]) == -7


def test_reads_names_inputs_and_outputs_of_nodes(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model_of())

    (node,) = onnx_file.read(tmp_path / "m.onnx").nodes

    assert node == onnx_file.Node("/only/node", "Identity", ("x",), ("y",))


def test_tensors_of_other_types_are_left_out(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "shape")
    (tmp_path / "m.onnx").write_bytes(model_of(shape))

    assert onnx_file.read(tmp_path / "m.onnx").tensors == {}


def test_weights_outside_the_file_are_refused(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    (tmp_path / "m.onnx").write_bytes(model_of(tensor))

    with pytest.raises(CatalogError, match="stored outside the file"):
        onnx_file.read(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "content",
    [
        b"\x38\x01",  # field 7, the graph, as a number
        b"\x3a\x02\x2a\x00" + b"\x3a\x04\x2a\x02\x12\x00",  # a data type as bytes
        b"\x3b",  # a group, long gone from protobuf
    ],
)
def test_fields_of_the_wrong_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(content)

    with pytest.raises(CatalogError, match="not a complete ONNX file"):
        onnx_file.read(tmp_path / "m.onnx")


@given(content=st.binary(max_size=200))
def test_no_bytes_crash_the_reader(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    path.write_bytes(content)

    with pytest.raises(CatalogError, match="not a complete ONNX file"):
        onnx_file.read(path)


@given(cut=st.integers(min_value=1, max_value=150))
def test_a_cut_off_file_is_refused_or_read_without_its_tail(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    whole = model_of(numpy_helper.from_array(np.ones((5, 5), dtype=np.float32), "w"))
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    path.write_bytes(whole[:-cut])

    try:
        read = onnx_file.read(path)
    except CatalogError as error:
        assert str(path) in error.message
    else:
        assert read.tensors["w"].shape == (5, 5)
