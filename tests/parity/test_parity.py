"""Every family's numbers are those of its reference: golden values, no reference installed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import pytest

from rerank_workers.scorer import Context, Item, Scorer
from tests.parity import tiny_models
from tests.parity.cases import CASES, MINILM, Case, Golden
from tests.parity.record import GOLDEN, TOLERANCE

RUNS = [
    pytest.param(
        case,
        length,
        marks=[pytest.mark.weights] if case.model == MINILM else [],
        id=f"{case.name}-{length}",
    )
    for case in CASES
    for length in case.max_lengths
]


class Family(Protocol):
    def load(self, context: Context, **options: object) -> Scorer: ...


@pytest.fixture(scope="session")
def version(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    built: dict[str, Path] = {}

    def find(model: str) -> Path:
        if model not in built:
            built[model] = tiny_models.build(model, tmp_path_factory.mktemp("tiny"))
        return built[model]

    return find


@pytest.mark.parametrize(("case", "length"), RUNS)
def test_scores_equal_the_reference_at_any_length_batch_size_and_order(
    case: Case, length: int, version: Callable[[str], Path], request: pytest.FixtureRequest
) -> None:
    directory = (
        cast(Path, request.getfixturevalue("demo_models")) / MINILM
        if case.model == MINILM
        else version(case.model)
    )
    module = cast(Family, importlib.import_module(f"rerank_workers.families.{case.family}"))
    scorer = module.load(
        Context("v1", directory, max_length=length, use_fp16=False), **dict(case.options)
    )
    golden: Golden = json.loads((GOLDEN / f"{case.name}.json").read_text("utf-8"))["scores"]

    items = encoded(scorer, case.pairs)
    forwards = range(len(items))
    shuffled = np.random.default_rng(11).permutation(len(items)).tolist()
    for size, order in ((16, forwards), (5, shuffled), (1, forwards[::-1])):
        scores = in_batches(scorer, items, size, order)
        np.testing.assert_allclose(scores, golden[str(length)], atol=TOLERANCE, rtol=0)


def encoded(scorer: Scorer, pairs: Sequence[tuple[str, str]]) -> list[Item]:
    """Encode as requests come: one query with its documents."""
    items: list[Item] = []
    for query, same in groupby(pairs, key=lambda pair: pair[0]):
        items += scorer.encode(query, [doc for _, doc in same])
    return items


def in_batches(
    scorer: Scorer, items: Sequence[Item], size: int, order: Sequence[int]
) -> list[float]:
    scores = [0.0] * len(items)
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        for index, score in zip(batch, scorer.score([items[i] for i in batch]), strict=True):
            scores[index] = score
    return scores


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden_scores_tell_pairs_apart(case: Case) -> None:
    golden: Golden = json.loads((GOLDEN / f"{case.name}.json").read_text("utf-8"))["scores"]

    assert {int(length) for length in golden} == set(case.max_lengths)
    for scores in golden.values():
        assert len(scores) == len(case.pairs)
        assert np.std(scores) > 1000 * TOLERANCE


def test_every_golden_file_belongs_to_a_case() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == {case.name for case in CASES}
