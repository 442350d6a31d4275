"""The ONNX engine: what is read off a graph, and what it computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rerank_workers.engines.files import ModelFilesError
from rerank_workers.engines.onnx_outline import read_outline
from rerank_workers.families import bi_encoder, cross_encoder
from rerank_workers.families.cross_encoder import CrossEncoder
from rerank_workers.scorer import Context

from . import tiny


def load(directory: Path) -> CrossEncoder:
    return cross_encoder.load(Context("v1", directory, threads=2))


def test_an_outline_names_operators_and_outputs(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=False)

    outline = read_outline(tmp_path / "model" / "model.onnx")

    assert outline.outputs == ("logits",)
    assert {"Gather", "MatMul", "ReduceSum"} <= outline.operators
    assert outline.precision == "float32"


@pytest.mark.parametrize("quantized", [False, True])
def test_rows_with_one_scale_for_all_are_run_one_by_one(tmp_path: Path, quantized: bool) -> None:
    tiny.onnx_version(tmp_path, hidden=False, quantized=quantized)

    scorer = load(tmp_path)

    items = scorer.encode("jet", tiny.GRID)
    alone = [scorer.score([item])[0] for item in items]
    np.testing.assert_allclose(scorer.score(items), alone, atol=1e-5, rtol=0)
    assert scorer.mixes_requests
    assert scorer.info["dtype"] == ("int8, dynamic per tensor" if quantized else "float32")


def test_a_logit_is_the_graphs_own_and_sees_no_padding(tmp_path: Path) -> None:
    table = tiny.onnx_version(tmp_path, hidden=False)
    scorer = load(tmp_path)
    pairs = scorer.encode("jet", tiny.GRID[:5])

    together = scorer.score(pairs)

    expected = [table[pair.row.ids, 0].mean() for pair in pairs]
    np.testing.assert_allclose(together, expected, atol=1e-6)


def test_an_onnx_model_runs_without_a_config(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=False)

    assert load(tmp_path).info["max_length"] == "512"


def test_the_tokenizers_config_limits_a_model_without_a_config(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=False)
    limit = tmp_path / "tokenizer" / "tokenizer_config.json"
    limit.write_text('{"model_max_length": 100}', encoding="utf-8")

    (pair,) = load(tmp_path).encode("jet", ["comet " * 500])

    assert pair.tokens == 100


def test_a_graph_of_hidden_states_is_no_cross_encoder(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=True)

    with pytest.raises(ModelFilesError, match="no output of rank 2"):
        load(tmp_path)


def test_a_graph_with_two_labels_is_refused(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=False, labels=2)

    with pytest.raises(ModelFilesError, match="output 'logits' has 2 labels; a reranker has one"):
        load(tmp_path)


def test_a_graph_of_logits_is_no_bi_encoder(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=False)

    with pytest.raises(ModelFilesError, match="no output of rank 3"):
        bi_encoder.load(Context("v1", tmp_path))


@pytest.mark.parametrize("size", [0, 10, 500])
def test_a_cut_off_file_is_named(tmp_path: Path, size: int) -> None:
    tiny.onnx_version(tmp_path, hidden=False)
    path = tmp_path / "model" / "model.onnx"
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(ModelFilesError, match=r"model\.onnx: not an ONNX file, or cut off"):
        load(tmp_path)


def test_a_graph_onnxruntime_refuses_is_named(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=False)
    path = tmp_path / "model" / "model.onnx"
    path.write_bytes(path.read_bytes().replace(b"ReduceSum", b"ReduceXXX"))

    with pytest.raises(ModelFilesError, match=r"model\.onnx: onnxruntime cannot load it"):
        load(tmp_path)


def test_scoring_with_onnx_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    tiny.onnx_version(tmp_path, hidden=False)
    program = (
        "import sys, pathlib\n"
        "from rerank_workers import families\n"
        "from rerank_workers.scorer import Context\n"
        "scorer = families.load(Context('v1', pathlib.Path(sys.argv[1])))\n"
        "scorer.score(scorer.encode('jet', ['comet']))\n"
        "print({'torch', 'transformers', 'onnx'} & set(sys.modules))\n"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "set()\n"
