"""Each wire format: what is taken for it, and exactly what it answers, whatever the path."""

from __future__ import annotations

import pytest

from tests.gateway.dialect_samples import (
    DASHSCOPE,
    DOCS,
    MIXEDBREAD,
    NIM,
    PAIRS,
    PATHS,
    PINECONE,
    RANKED,
    SUPERSET,
    TEI,
    USAGE,
    VOYAGE,
    Body,
    taken,
)
from tests.gateway.fakes import route, table
from tests.gateway.harness import JSON, Gateway


@pytest.mark.parametrize("path", PATHS)
def test_documents_get_the_answer_that_all_their_clients_read(gateway: Gateway, path: str) -> None:
    said = taken(path, gateway, SUPERSET)

    assert isinstance(said, dict)
    assert said.pop("created") > 1_700_000_000
    assert said.pop("id")
    assert said == {
        "object": "rerank",
        "model": "v1",
        "results": RANKED,
        "data": RANKED,
        "usage": USAGE | {"completion_tokens": 0},
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": 9, "output_tokens": 0},
        },
    }


@pytest.mark.parametrize("path", PATHS)
def test_texts_get_a_bare_array(gateway: Gateway, path: str) -> None:
    assert taken(path, gateway, TEI) == [
        {"index": 1, "score": 0.3},
        {"index": 0, "score": 0.2},
        {"index": 2, "score": 0.1},
    ]


@pytest.mark.parametrize("path", PATHS)
def test_top_k_gets_voyages_answer(gateway: Gateway, path: str) -> None:
    assert taken(path, gateway, VOYAGE) == {
        "object": "list",
        "data": [{"index": 1, "relevance_score": 0.3}, {"index": 0, "relevance_score": 0.2}],
        "model": "v1",
        "usage": {"total_tokens": 9},
    }


@pytest.mark.parametrize("path", PATHS)
def test_input_gets_mixedbreads_answer(gateway: Gateway, path: str) -> None:
    assert taken(path, gateway, MIXEDBREAD | {"top_k": 1, "return_input": True}) == {
        "usage": USAGE,
        "model": "v1",
        "data": [{"index": 1, "score": 0.3, "input": "bbb", "object": "rank_result"}],
        "object": "list",
        "top_k": 1,
        "return_input": True,
    }


@pytest.mark.parametrize("path", PATHS)
def test_an_object_under_input_gets_dashscopes_answer(gateway: Gateway, path: str) -> None:
    said = taken(path, gateway, DASHSCOPE)

    assert isinstance(said, dict)
    assert said.pop("request_id")
    assert said == {
        "output": {
            "results": [
                {"index": 1, "relevance_score": 0.3, "document": {"text": "bbb"}},
                {"index": 0, "relevance_score": 0.2, "document": {"text": "aa"}},
            ]
        },
        "usage": {"total_tokens": 9},
    }


@pytest.mark.parametrize("path", PATHS)
def test_pinecones_header_gets_pinecones_answer(gateway: Gateway, path: str) -> None:
    said = gateway.post(path, SUPERSET | {"top_n": 1}, headers=JSON | PINECONE).json()

    assert said == {
        "model": "v1",
        "data": [{"index": 1, "score": 0.3, "document": {"text": "bbb"}}],
        "usage": {"rerank_units": 1},
    }


@pytest.mark.parametrize("path", PATHS)
def test_passages_get_rankings(gateway: Gateway, path: str) -> None:
    assert taken(path, gateway, NIM) == {
        "rankings": [
            {"index": 1, "logit": 0.3},
            {"index": 0, "logit": 0.2},
            {"index": 2, "logit": 0.1},
        ],
        "usage": USAGE,
    }


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        PAIRS,
        {"queries": ["q"], "items": DOCS},
        {"text_1": "q", "text_2": DOCS},
        {"data_1": ["q"], "data_2": DOCS},
        {"queries": ["q", "q", "q"], "documents": DOCS},
    ],
)
def test_queries_get_scores_in_input_order(gateway: Gateway, path: str, body: Body) -> None:
    said = taken(path, gateway, body)

    assert isinstance(said, dict)
    assert said["object"] == "list"
    assert said["data"] == [
        {"index": 0, "object": "score", "score": 0.2},
        {"index": 1, "object": "score", "score": 0.3},
        {"index": 2, "object": "score", "score": 0.1},
    ]
    assert said["usage"] == USAGE


@pytest.mark.parametrize(
    ("more", "native"),
    [
        ({"docs": None}, False),
        ({"docs": DOCS}, True),
    ],
)
def test_a_key_with_null_is_not_there(gateway: Gateway, more: Body, native: bool) -> None:
    said = gateway.post("/v1/rerank", SUPERSET | more).json()

    assert ("scores" in said) == native


@pytest.mark.parametrize("body", [SUPERSET, VOYAGE, MIXEDBREAD, NIM, PAIRS, TEI, DASHSCOPE])
def test_a_version_named_by_model_is_taken_in_every_format(gateway: Gateway, body: Body) -> None:
    gateway.show(table(route("v1", "v1.1"), route("v2", "v2.1")))

    answer = gateway.post("/rerank", body | {"model": "v2"})

    assert answer.headers["x-rerank-version"] == "v2"
    assert "x-rerank-fallback" not in answer.headers
