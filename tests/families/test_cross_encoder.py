"""Cross-encoders: what they read, and that their scores are the reference's."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rerank_workers.families import cross_encoder
from rerank_workers.families.cross_encoder import CrossEncoder, Pair
from rerank_workers.scorer import Context

from . import reference, tiny


def load(directory: Path, max_length: int = 512) -> CrossEncoder:
    return cross_encoder.load(Context("v1", directory, max_length=max_length, threads=2))


@pytest.mark.parametrize("max_length", [16, 21, 64, 127, 128])
@pytest.mark.parametrize("architecture", ["bert", "xlmr"])
def test_scores_equal_the_reference_over_the_grid(
    architecture: str, max_length: int, request: pytest.FixtureRequest
) -> None:
    directory = request.getfixturevalue(architecture)
    scorer = load(directory, max_length)

    for query in tiny.QUERIES:
        raw = scorer.score(scorer.encode(query, tiny.GRID))

        expected = reference.pair_logits(directory, query, tiny.GRID, max_length)
        np.testing.assert_allclose(raw, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["bert", "xlmr"])
def test_a_score_does_not_depend_on_its_neighbours(
    architecture: str, request: pytest.FixtureRequest
) -> None:
    scorer = load(request.getfixturevalue(architecture))
    items = [item for query in tiny.QUERIES for item in scorer.encode(query, tiny.GRID)]
    alone = [scorer.score([item])[0] for item in items]
    shuffled = np.random.default_rng(5).permutation(len(items)).tolist()
    orders = [list(range(len(items))), list(reversed(range(len(items)))), shuffled]

    for size, order in itertools.product((2, 3, 16, len(items)), orders):
        for start in range(0, len(items), size):
            batch = order[start : start + size]
            scores = scorer.score([items[index] for index in batch])

            np.testing.assert_allclose(scores, [alone[i] for i in batch], atol=1e-5, rtol=0)


def test_equal_documents_get_equal_scores(bert: Path) -> None:
    scorer = load(bert)

    scores = scorer.score(scorer.encode("comet", ["jet", "boeing", "jet"]))

    assert scores[0] == scores[2] != scores[1]


def test_a_bert_pair_is_framed_with_its_token_types(bert: Path) -> None:
    (pair,) = load(bert).encode("the jet", ["comet"])

    words = tiny.bert_tokenizer().token_to_id
    assert pair.row.ids.tolist() == [2, words("the"), words("jet"), 3, words("comet"), 3]
    assert pair.row.types.tolist() == [0, 0, 0, 0, 1, 1]
    assert pair.tokens == 6


def test_an_xlm_roberta_pair_is_framed_without_token_types(xlmr: Path) -> None:
    (pair,) = load(xlmr).encode("the jet", ["comet"])

    words = tiny.xlmr_tokenizer().token_to_id
    assert pair.row.ids.tolist() == [0, words("▁the"), words("▁jet"), 2, 2, words("▁comet"), 2]
    assert not pair.row.types.any()


@pytest.mark.parametrize("max_length", range(8, 40))
def test_no_pair_is_longer_than_max_length(bert: Path, max_length: int) -> None:
    pairs = load(bert, max_length).encode("jet " * 100, ["comet " * 100])

    assert [pair.tokens for pair in pairs] == [max_length]


def test_a_query_keeps_three_quarters_and_the_document_is_cut_at_its_end(bert: Path) -> None:
    (pair,) = load(bert, 40).encode("jet " * 100, ["the comet " * 100])

    words = tiny.bert_tokenizer().token_to_id
    document = pair.row.ids[pair.row.types == 1].tolist()
    assert (pair.row.ids == words("jet")).sum() == 30
    assert document == [words("the"), words("comet")] * 3 + [words("the"), 3]


@pytest.mark.parametrize(("words", "truncated"), [(0, False), (1, False), (27, False), (28, True)])
def test_truncated_is_told_per_document(bert: Path, words: int, truncated: bool) -> None:
    pairs = load(bert, 32).encode("jet jet", ["comet", "comet " * words])

    assert [pair.truncated for pair in pairs] == [False, truncated]


def test_a_cut_query_alone_truncates_no_document(bert: Path) -> None:
    (pair,) = load(bert, 32).encode("jet " * 100, ["comet"])

    assert not pair.truncated


def test_no_documents_give_no_items(bert: Path) -> None:
    assert load(bert).encode("jet", []) == []


@pytest.mark.parametrize("architecture", ["bert", "xlmr"])
def test_max_length_stops_at_the_models_positions(
    architecture: str, request: pytest.FixtureRequest
) -> None:
    scorer = load(request.getfixturevalue(architecture), 8192)

    (pair,) = scorer.encode("jet", ["comet " * 1000])

    assert pair.tokens == tiny.POSITIONS
    assert np.isfinite(scorer.score([pair])).all()
    assert scorer.info["max_length"] == "128 (the model's limit; 8192 configured)"


def test_encoding_in_other_threads_while_scoring_changes_nothing(bert: Path) -> None:
    scorer = load(bert)
    items = scorer.encode(tiny.QUERIES[0], tiny.GRID)
    expected = scorer.score(items)

    with ThreadPoolExecutor(4) as pool:
        encoded = [pool.submit(scorer.encode, tiny.QUERIES[0], tiny.GRID) for _ in range(40)]
        scores = [scorer.score(items) for _ in range(10)]

    assert all(score == expected for score in scores)
    assert all(_ids(future.result()) == _ids(items) for future in encoded)


def test_info_tells_how_the_model_is_run(bert: Path) -> None:
    info = load(bert).info

    assert info["family"] == "cross_encoder"
    assert info["activation"] == "sigmoid"
    assert info["dtype"] == "float32"
    assert info["device"] == "cpu"
    assert info["engine"].startswith("torch ")
    assert info["model_files"] == "model/model.safetensors"
    assert info["tokenizer_file"] == "tokenizer/tokenizer.json"


def test_unit_scores_are_sigmoids_in_the_order_of_raw_ones(bert: Path) -> None:
    assert load(bert).to_unit([0.0, 2.0, -2.0]) == pytest.approx([0.5, 0.8807970780, 0.1192029220])


def _ids(pairs: list[Pair]) -> list[list[int]]:
    return [pair.row.ids.tolist() for pair in pairs]
