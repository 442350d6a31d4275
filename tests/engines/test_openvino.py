"""OpenVINO's engine: what `optimize` wrote, run without torch, equal to the original."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rerank_workers.engines.engine import Output, load_engine
from rerank_workers.engines.files import IR_NAME, ModelFilesError, read_model_files
from rerank_workers.engines.ir import BFLOAT16, DYNAMIC, STATIC
from rerank_workers.families import bi_encoder, cross_encoder
from rerank_workers.scorer import Context
from tests.engines.graphs import ARCHITECTURES, Make, load, write
from tests.families import reference, tiny

pytest.importorskip("openvino", reason="the extra openvino is not installed")
pytest.importorskip("nncf", reason="the extra openvino is not installed")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("max_length", [16, 64, 128])
def test_a_graph_in_float32_equals_the_reference_over_the_grid(
    version: Make, architecture: str, max_length: int
) -> None:
    directory = version(architecture, BFLOAT16)
    context = Context(
        "v1", directory, model="model_cpu", threads=2, use_fp16=False, max_length=max_length
    )
    scorer = cross_encoder.load(context)

    for query in tiny.QUERIES:
        raw = scorer.score(scorer.encode(query, tiny.GRID))

        expected = reference.pair_logits(directory, query, tiny.GRID, max_length)
        np.testing.assert_allclose(raw, expected, atol=0.005, rtol=0)  # stored in fp16


@pytest.mark.parametrize("activation", ["relu", "gelu_new"])
def test_other_activations_equal_the_reference(tmp_path: Path, activation: str) -> None:
    tiny.torch_version(tmp_path, ARCHITECTURES[0], hidden_act=activation)
    scorer = load(write(tmp_path, BFLOAT16), use_fp16=False)

    raw = scorer.score(scorer.encode("jet", tiny.GRID))

    expected = reference.pair_logits(tmp_path, "jet", tiny.GRID, 128)
    np.testing.assert_allclose(raw, expected, atol=0.05, rtol=0)


@pytest.mark.parametrize("variant", [BFLOAT16, DYNAMIC, STATIC])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_score_does_not_depend_on_its_neighbours(
    version: Make, architecture: str, variant: str
) -> None:
    scorer = load(version(architecture, variant))
    items = [item for query in tiny.QUERIES for item in scorer.encode(query, tiny.GRID)]
    alone = np.array([scorer.score([item])[0] for item in items])

    for seed in (1, 2):
        order = np.random.default_rng(seed).permutation(len(items))
        together = scorer.score([items[index] for index in order])

        np.testing.assert_allclose(together, alone[order], atol=0.05, rtol=0)


@pytest.mark.parametrize("variant", [DYNAMIC, STATIC])
def test_int8_stays_near_the_original(version: Make, variant: str) -> None:
    directory = version(ARCHITECTURES[0], variant)
    exact = cross_encoder.load(Context("v1", directory))
    scorer = load(directory)

    items = scorer.encode(tiny.QUERIES[0], tiny.GRID)

    deviation = np.abs(np.subtract(scorer.score(items), exact.score(items)))
    assert deviation.max() < 0.2


def test_info_tells_the_variant_and_the_streams(version: Make) -> None:
    info = load(version(ARCHITECTURES[0], DYNAMIC)).info

    assert info["engine"].startswith("openvino ")
    assert info["dtype"].startswith("int8 dynamic, ")
    assert info["streams"] == "2"
    assert info["model_files"] == f"model_cpu/{IR_NAME}"


def test_scoring_with_openvino_imports_neither_torch_nor_transformers(version: Make) -> None:
    program = (
        "import sys, pathlib\n"
        "from rerank_workers import families\n"
        "from rerank_workers.scorer import Context\n"
        "context = Context('v1', pathlib.Path(sys.argv[1]), model='model_cpu')\n"
        "scorer = families.load(context)\n"
        "scorer.score(scorer.encode('jet', ['comet']))\n"
        "print({'torch', 'transformers', 'nncf', 'onnxruntime'} & set(sys.modules))\n"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(version(ARCHITECTURES[0], DYNAMIC))],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "set()\n"


@pytest.mark.process
def test_a_signal_after_engines_were_dropped_is_handled(version: Make) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from rerank_workers.engines.openvino_engine import load_openvino\n"
        "signal.signal(signal.SIGUSR2, lambda *_: print('handled'))\n"
        "engines = [load_openvino(Path(sys.argv[1]), 1, True, 0) for _ in range(2)]\n"
        "del engines[0]\n"
        "del engines[0]\n"
        "os.kill(os.getpid(), signal.SIGUSR2)\n"
    )
    graph = version(ARCHITECTURES[0], DYNAMIC) / "model_cpu" / IR_NAME

    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(graph)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "handled\n")


def test_a_graph_made_elsewhere_is_refused(version: Make, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(version(ARCHITECTURES[0], DYNAMIC), tmp_path / "v1"))
    path = directory / "model_cpu" / IR_NAME
    path.write_text(path.read_text().replace("rerank_server", "another_tool"))

    with pytest.raises(ModelFilesError, match="not made by `rerank-server optimize`"):
        load(directory)


def test_a_damaged_graph_is_named(version: Make, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(version(ARCHITECTURES[0], DYNAMIC), tmp_path / "v1"))
    path = directory / "model_cpu" / IR_NAME
    path.write_text(path.read_text()[:500])

    with pytest.raises(ModelFilesError, match="OpenVINO cannot load it"):
        load(directory)


def test_a_graph_of_logits_is_no_bi_encoder(version: Make) -> None:
    context = Context("v1", version(ARCHITECTURES[0], DYNAMIC), model="model_cpu")

    with pytest.raises(ModelFilesError, match="the logits of a cross-encoder only"):
        bi_encoder.load(context)


def test_the_openvino_engine_needs_a_graph(bert: Path) -> None:
    files = read_model_files(bert / "model")

    with pytest.raises(ModelFilesError, match=rf"no {IR_NAME}"):
        load_engine(Context("v1", bert), files, Output.LOGIT, "openvino")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return tiny.torch_version(tmp_path / "v1", ARCHITECTURES[0])
