"""A document of 200 pages, with the tokenizers and models of real families."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rerank_workers.families import cross_encoder, late_interaction, yes_logit, yes_no
from rerank_workers.long_docs import cut
from rerank_workers.scorer import Context, Scorer
from rerank_workers.scoring import Model

FILLER = (
    "The comet entered service in the first company. It was a jet. "
    "喷气式客机是什么。什么式客机是喷气。"
)
ANSWER = "Concorde was a supersonic airliner! "


def loaded(family: str, bert: Path, plain_bert: Path, tiny_llm: Callable[[str], Path]) -> Scorer:
    match family:
        case "cross_encoder":
            return cross_encoder.load(Context("v1", bert, max_length=96, use_fp16=False))
        case "late_interaction":
            return late_interaction.load(Context("v1", plain_bert, max_length=96, use_fp16=False))
        case "yes_logit":
            return yes_logit.load(Context("v1", tiny_llm("gemma"), max_length=96, use_fp16=False))
        case _:
            return yes_no.load(Context("v1", tiny_llm("qwen3"), max_length=256, use_fp16=False))


@pytest.mark.parametrize("family", ["cross_encoder", "late_interaction", "yes_logit", "yes_no"])
def test_the_best_window_is_scored_as_a_document_of_its_own(
    family: str, bert: Path, plain_bert: Path, tiny_llm: Callable[[str], Path]
) -> None:
    scorer = loaded(family, bert, plain_bert, tiny_llm)
    doc = FILLER * 4 + ANSWER + FILLER * 3
    query = "which airliner was supersonic?"

    found = cut(Model(scorer).encode, query, ["jet", doc])
    scores, won = found.best(scorer.score(found.items))

    assert found.truncated() == []
    texts = [span.of(doc) for span in found.spans[1]]
    assert len(texts) > 2
    alone = [scorer.score(scorer.encode(query, [text]))[0] for text in texts]
    assert scores[1] == pytest.approx(max(alone), abs=1e-5)
    assert won[1].number == int(np.argmax(alone))
    assert won[1].span == found.spans[1][won[1].number]
    # Whole sentences: each window ends with one.
    assert all(text[-1] in ".!。" for text in texts)


def test_a_book_costs_what_its_tokens_cost(bert: Path) -> None:
    scorer = cross_encoder.load(Context("v1", bert, max_length=128, use_fp16=False))
    book = FILLER * 4000  # about 200 pages of 500 words
    whole = len(book)

    tracemalloc.start()
    found = cut(Model(scorer).encode, "jet", [book])
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found.truncated() == []
    assert (found.spans[0][0].start, found.spans[0][-1].end) == (0, whole)
    one = scorer.encode("jet", [FILLER])[0].tokens - 4
    read = found.tokens()[0] - 4 * len(found.items)
    assert 4000 * one <= read <= 4000 * one * 1.2
    assert peak_bytes < 60 * 2**20
