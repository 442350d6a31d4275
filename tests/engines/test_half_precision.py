"""Half precision on a CPU: chosen by self-timing, kept over restarts, close to fp32."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rerank_workers.engines.batch import Floats, Row
from rerank_workers.engines.bert_weights import arrange
from rerank_workers.engines.choice import STORE, processor
from rerank_workers.engines.engine import Output
from rerank_workers.engines.files import read_model_files
from rerank_workers.engines.torch_bert import Bert
from rerank_workers.engines.torch_engine import TorchEngine
from rerank_workers.engines.torch_timing import time_formats
from rerank_workers.engines.torch_weights import read_weights
from rerank_workers.families import cross_encoder
from rerank_workers.families.cross_encoder import CrossEncoder
from rerank_workers.optimize import texts
from rerank_workers.optimize.quality import spearman
from rerank_workers.scorer import Context
from tests.families import tiny


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return tiny.torch_version(tmp_path / "v1", "BertForSequenceClassification")


def load(directory: Path, store: Path | None, *, use_fp16: bool = True) -> CrossEncoder:
    options = {} if store is None else {STORE: str(store)}
    return cross_encoder.load(
        Context("v1", directory, use_fp16=use_fp16, threads=2, options=options)
    )


def test_without_a_store_a_cpu_computes_in_float32(bert: Path) -> None:
    assert load(bert, None).info["dtype"] == "float32"


def test_without_use_fp16_a_cpu_computes_in_float32(bert: Path, tmp_path: Path) -> None:
    store = tmp_path / "v1.json"

    assert load(bert, store, use_fp16=False).info["dtype"] == "float32"
    assert not store.exists()


@pytest.mark.skipif(not processor().has_half, reason="this CPU multiplies no bf16")
def test_the_format_a_store_names_is_used(bert: Path, tmp_path: Path) -> None:
    store = tmp_path / "v1.json"
    load(bert, store)
    remembered = json.loads(store.read_text())

    for dtype in ("bfloat16", "float32"):
        store.write_text(json.dumps({**remembered, "winner": dtype}))
        scorer = load(bert, store)

        assert scorer.info["dtype"] == dtype
        assert "bfloat16" in scorer.info["self_timing"]
        assert np.isfinite(scorer.score(scorer.encode("jet", tiny.GRID))).all()


def test_a_self_timing_takes_every_format(bert: Path) -> None:
    files = read_model_files(bert / "model")
    weights = arrange(files, read_weights(files), Output.LOGIT)
    formats = (torch.float32, torch.bfloat16)

    seconds = time_formats(weights, formats)

    assert tuple(seconds) == formats
    assert all(0 < value < 60 for value in seconds.values())


@pytest.fixture(scope="module")
def minilm() -> Path:
    directory = Path(__file__).parents[2] / "models" / "v2-minilm"
    if not (directory / "model" / "model.safetensors").is_file():
        pytest.skip("models/v2-minilm is not there; run: rerank-server pull v2-minilm")
    return directory


def requests(directory: Path) -> list[list[Row]]:
    """The labelled texts as the rows the model reads, one list a query."""
    scorer = load(directory, None)
    return [[pair.row for pair in scorer.encode(r.query, r.docs)] for r in texts.own()[:8]]


def engine(directory: Path, dtype: torch.dtype) -> TorchEngine:
    files = read_model_files(directory / "model")
    cpu = torch.device("cpu")
    weights = arrange(files, read_weights(files), Output.LOGIT)
    return TorchEngine(Bert(weights, cpu, dtype), cpu, {}, dtype)


@pytest.mark.weights
def test_half_precision_ranks_as_float32_does(minilm: Path) -> None:
    exact, half = (engine(minilm, dtype) for dtype in (torch.float32, torch.bfloat16))

    found = [(exact.logits(rows), half.logits(rows)) for rows in requests(minilm)]

    assert np.mean([spearman(a, b) for a, b in found]) >= 0.999
    assert max(np.abs(a - b).max() for a, b in found) < 0.15


@pytest.fixture(scope="module")
def alone(minilm: Path) -> tuple[TorchEngine, list[Row], Floats]:
    """An engine in half precision, rows, and the score of each with nothing beside it."""
    half = engine(minilm, torch.bfloat16)
    rows = [row for request in requests(minilm)[:3] for row in request]
    return half, rows, np.array([half.logits([row])[0] for row in rows], np.float32)


@pytest.mark.weights
@pytest.mark.parametrize("seed", [1, 2])
def test_half_precision_scores_the_same_whatever_stands_beside(
    alone: tuple[TorchEngine, list[Row], Floats], seed: int
) -> None:
    half, rows, expected = alone
    order = np.random.default_rng(seed).permutation(len(rows))

    together = half.logits([rows[index] for index in order])

    assert np.abs(together - expected[order]).max() <= 0.05
