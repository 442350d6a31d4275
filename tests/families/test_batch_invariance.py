"""Through the worker's own batcher, a pair's score is the same alone and among strangers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import pytest

from rerank_workers.device import Device, Work
from rerank_workers.families import FAMILIES
from rerank_workers.jobs import Job, Scored
from rerank_workers.scorer import Context, Scorer
from rerank_workers.scoring import Model
from tests.parity import grid, tiny_models

from . import tiny

Find = Callable[[str], Path]
MODELS: Mapping[str, Sequence[str]] = {
    "cross_encoder": ("bert", "xlmr", "modernbert", "float graph", "int8 graph"),
    "bi_encoder": ("plain_bert",),
    "late_interaction": ("plain_bert",),
    "yes_logit": ("gemma",),
    "layerwise": ("minicpm-layerwise",),
    "lightweight": ("gemma2-lightweight",),
    "yes_no": ("qwen3", "qwen3-seq-cls", "qwen2-mxbai"),
}


class Family(Protocol):
    def load(self, context: Context) -> Scorer: ...


@pytest.fixture
def version(request: pytest.FixtureRequest, tiny_llm: Find, tmp_path: Path) -> Find:
    def find(model: str) -> Path:
        if model in tiny_models.MODELS and model != "bert":
            return tiny_llm(model)
        if model.endswith("graph"):
            tiny.onnx_version(tmp_path, hidden=False, quantized=model.startswith("int8"))
            return tmp_path
        return cast(Path, request.getfixturevalue(model))

    return find


def scored(scorer: Scorer, requests: Sequence[tuple[str, Sequence[str]]]) -> list[list[float]]:
    """Score requests as a worker does that has them all in its queue at once."""
    device = Device(Model(scorer), 5, 900, lambda: 0.0)
    for number, (query, docs) in enumerate(requests):
        job = Job(number, query, docs, 0.0)
        device.add(Work(job, list(scorer.encode(query, docs))))
    raw: dict[int, list[float]] = {}
    while not device.is_idle:
        for event in device.score_next():
            if isinstance(event, Scored):
                raw[event.job.number] = event.raw
    return [raw[number] for number in range(len(requests))]


def test_every_family_is_tried_here() -> None:
    assert set(MODELS) == set(FAMILIES)


@pytest.mark.parametrize(
    ("family", "model"), [(family, model) for family in MODELS for model in MODELS[family]]
)
def test_a_score_is_the_same_alone_and_among_strangers(
    family: str, model: str, version: Find
) -> None:
    module = cast(Family, importlib.import_module(f"rerank_workers.families.{family}"))
    scorer = module.load(Context("v1", version(model), max_length=256, use_fp16=False))
    requests = [
        (grid.QUERIES[0], grid.DOCUMENTS),
        (grid.QUERIES[1], grid.DOCUMENTS[::-1]),
        (grid.QUERIES[2], grid.DOCUMENTS[4:5]),
    ]

    together = scored(scorer, requests)

    for (query, docs), scores in zip(requests, together, strict=True):
        alone = [scored(scorer, [(query, [doc])])[0][0] for doc in docs]
        np.testing.assert_allclose(scores, alone, atol=1e-5, rtol=0)
