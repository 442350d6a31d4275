"""The demo versions' real weights: the seed's question, and parity with transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from rerank_workers import families
from rerank_workers.families import bi_encoder, cross_encoder, late_interaction
from rerank_workers.scorer import Context, Scorer

from . import reference, tiny

pytestmark = pytest.mark.weights

QUERY = (
    "Which company developed the first commercial jet airliner that entered service in 1952, "
    "and what was its name?"
)
DOCS = (
    "The de Havilland Comet was the world's first commercial jet airliner, entering service with "
    "BOAC in 1952.",
    "Boeing 707 entered service in 1958, developed by Boeing Company.",
    "Concorde was a supersonic transport aircraft, not a commercial jet airliner.",
)


def scores(scorer: Scorer, docs: Sequence[str] = DOCS) -> Sequence[float]:
    return scorer.score(scorer.encode(QUERY, docs))


def test_minilm_answers_the_seeds_question(demo: Callable[[str], Path]) -> None:
    scorer = cross_encoder.load(Context("v2-minilm", demo("v2-minilm"), threads=2))

    assert scores(scorer) == pytest.approx([8.251, 3.771, -1.879], abs=0.001)


@pytest.mark.parametrize("max_length", [64, 512])
def test_minilm_equals_transformers(demo: Callable[[str], Path], max_length: int) -> None:
    directory = demo("v2-minilm")
    context = Context("v2-minilm", directory, max_length=max_length, threads=2)
    texts = (*DOCS, *tiny.GRID)

    raw = scores(cross_encoder.load(context), texts)

    expected = reference.pair_logits(directory, QUERY, texts, max_length)
    np.testing.assert_allclose(raw, expected, atol=1e-5, rtol=0)


def test_minilm_scores_the_same_alone_and_in_a_batch(demo: Callable[[str], Path]) -> None:
    scorer = cross_encoder.load(Context("v2-minilm", demo("v2-minilm"), threads=2))
    items = scorer.encode(QUERY, (*DOCS, *tiny.GRID))

    alone = [scorer.score([item])[0] for item in items]

    np.testing.assert_allclose(scorer.score(items), alone, atol=1e-5, rtol=0)


def test_the_int8_minilm_ranks_alike_and_keeps_rows_apart(demo: Callable[[str], Path]) -> None:
    directory = demo("v2-minilm")
    scorer = families.load(Context("v2-minilm", directory, model="model_cpu", threads=2))

    raw = scores(scorer)

    assert raw == pytest.approx([8.251, 3.771, -1.879], abs=0.5)
    assert raw == sorted(raw, reverse=True)
    for doc, score in zip(DOCS, raw, strict=True):
        assert scores(scorer, [doc]) == [score]


def test_bge_small_answers_the_seeds_question(demo: Callable[[str], Path]) -> None:
    scorer = bi_encoder.load(Context("v1-bge-small", demo("v1-bge-small"), threads=2))

    raw = scores(scorer)

    assert raw == sorted(raw, reverse=True)
    assert raw[0] > raw[1] + 0.1
    assert scorer.info["query_instruction"] == bi_encoder.BGE_EN


def test_colbert_answers_the_seeds_question(demo: Callable[[str], Path]) -> None:
    scorer = late_interaction.load(Context("v1-colbert", demo("v1-colbert"), threads=2))

    raw = scores(scorer)

    assert raw == sorted(raw, reverse=True)
    assert all(-1.0 <= score <= 1.0 for score in raw)
