"""LLM rerankers on a real card: half precision near the golden values, whatever the batch."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import pytest

from rerank_workers.scorer import Context, Scorer
from tests.parity import grid, tiny_models
from tests.parity.cases import CASES, Case, Golden
from tests.parity.record import GOLDEN, TOLERANCE

pytestmark = pytest.mark.gpu
LLMS = [
    case for case in CASES if case.family in ("yes_logit", "layerwise", "lightweight", "yes_no")
]


class Family(Protocol):
    def load(self, context: Context, **options: object) -> Scorer: ...


@pytest.mark.parametrize("use_fp16", [False, True])
@pytest.mark.parametrize("case", LLMS, ids=lambda case: case.name)
def test_a_cards_scores_are_the_references(
    cuda: None, tmp_path: Path, case: Case, use_fp16: bool
) -> None:
    directory = tiny_models.build(case.model, tmp_path)
    length = case.max_lengths[-1]
    context = Context(
        "v1", directory, device="cuda:0", max_length=length, use_fp16=use_fp16, threads=2
    )
    module = cast(Family, importlib.import_module(f"rerank_workers.families.{case.family}"))
    scorer = module.load(context, **dict(case.options))
    golden: Golden = json.loads((GOLDEN / f"{case.name}.json").read_text("utf-8"))["scores"]

    items = [item for query in grid.QUERIES for item in scorer.encode(query, grid.DOCUMENTS)]
    together = scorer.score(items)
    alone = [scorer.score([item])[0] for item in items]

    # Tiny random models magnify rounding: their weights are ten times a trained model's.
    near = 0.25 if use_fp16 else TOLERANCE
    np.testing.assert_allclose(together, golden[str(length)], atol=near, rtol=0)
    np.testing.assert_allclose(together, alone, atol=0.05 if use_fp16 else TOLERANCE, rtol=0)
