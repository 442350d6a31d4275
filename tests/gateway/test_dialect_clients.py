"""What single clients need beyond the formats: paths, headers and shapes they alone have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.access import Access, ApiKey, Scope, digest_of
from tests.gateway.fakes import route, table
from tests.gateway.harness import JSON, Gateway

Body = dict[str, object]

DOCS = ["aa", "bbb", "c"]
SUPERSET: Body = {"model": "m", "query": "q", "documents": DOCS}
TEI: Body = {"query": "q", "texts": DOCS}
NIM: Body = {"model": "m", "query": {"text": "q"}, "passages": [{"text": "a"}], "top_k": 2}
DASHSCOPE: Body = {
    "model": "gte-rerank-v2",
    "input": {"query": "q", "documents": DOCS},
    "parameters": {"top_n": 2, "return_documents": False},
}
PINECONE = {"X-Pinecone-API-Version": "2025-10"}


def test_infinitys_client_finds_the_one_object_it_takes(gateway: Gateway) -> None:
    body = {"query": "q", "documents": DOCS, "return_documents": True, "raw_scores": False}

    said = gateway.post("/rerank", body | {"model": "m"}).json()

    assert said["object"] == "rerank"  # an enum of one word in infinity_client 0.0.78
    assert said["usage"].keys() >= {"prompt_tokens", "total_tokens"}


def test_vercels_client_for_together_finds_all_three_counts(gateway: Gateway) -> None:
    said = gateway.post("/v1/rerank", SUPERSET | {"top_n": 2, "return_documents": False}).json()

    assert said["usage"] == {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}


def test_voyages_client_without_top_k_finds_the_ranking(gateway: Gateway) -> None:
    said = gateway.post("/v1/rerank", SUPERSET).json()

    assert said["data"] == said["results"]


@pytest.mark.parametrize("headers", [JSON, JSON | PINECONE])
def test_documents_sent_as_objects_come_back_whole(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    documents = [{"text": "aa", "id": 7}, {"title": "bbb"}, "c"]
    body = {"query": "q", "documents": documents, "rank_fields": ["title"]}

    said = gateway.post("/v1/rerank", body | {"return_documents": True}, headers=headers).json()

    entries = said.get("results") or said["data"]
    assert [entry["document"] for entry in entries] == [
        {"text": "bbb", "title": "bbb"},
        {"text": "aa", "id": 7},
        {"text": "c"},
    ]


@pytest.mark.parametrize(
    "more",
    [{"top_n": None}, {"raw_scores": False}, {"max_chunks_per_doc": None}, {"user": "u"}],
)
def test_only_a_body_that_may_be_voyages_gets_the_ranking_twice(
    gateway: Gateway, more: Body
) -> None:
    assert "data" not in gateway.post("/v1/rerank", SUPERSET | more).json()


def test_pinecones_documents_come_back_unless_it_says_not_to(gateway: Gateway) -> None:
    body = SUPERSET | {"return_documents": False}

    said = gateway.post("/rerank", body, headers=JSON | PINECONE).json()

    assert said["data"][0] == {"index": 1, "score": 0.3}


@pytest.mark.parametrize(
    ("path", "version"),
    [
        # DashScope's own and its OpenAI-like API, as its SDK and LiteLLM ask them.
        ("/api/v1/services/rerank/text-rerank/text-rerank", "v1"),
        ("/second/api/v1/services/rerank/text-rerank/text-rerank", "v2"),
        ("/reranks", "v1"),
        ("/v1/reranks", "v1"),
        ("/second/reranks", "v2"),
        ("/compatible-api/v1/reranks", "v1"),
        # NVIDIA's, as LiteLLM asks it.
        ("/v1/retrieval/nvidia/llama-3.2-nv-rerankqa-1b-v2/reranking", "v1"),
        ("/second/v1/retrieval/nvidia/reranking", "v2"),
        # A base URL that ends with /v1, under a client that adds its own.
        ("/v1/v1/rerank", "v1"),
        ("/v1/v2/rerank", "v1"),
        ("/v2/v2/rerank/", "v1"),
    ],
)
@pytest.mark.parametrize("body", [SUPERSET, TEI, NIM, DASHSCOPE])
def test_paths_of_other_services_are_known_by_their_ends(
    gateway: Gateway, path: str, version: str, body: Body
) -> None:
    gateway.show(table(route("v1", "v1.1"), route("v2", "v2.1", endpoint="/second")))

    answer = gateway.post(path, body)

    assert answer.status_code == 200
    assert answer.headers["x-rerank-version"] == version


@pytest.mark.parametrize(
    "path",
    [
        *("/rerank/v9/v1/retrieval/x/reranking", "/rerank/v9/reranks", "/v1/retrieval/x/rerank"),
        *("/rerank/v9/v2/rerank", "/v1/v1/v1/rerank", "/v1/retrieval/reranking"),
    ],
)
def test_no_path_is_bent_until_it_fits_another_version(gateway: Gateway, path: str) -> None:
    gateway.show(table(route("v2", "v2.1")))

    answer = gateway.post(path, SUPERSET)

    assert answer.status_code == 404
    assert answer.json()["detail"] or path.startswith("/rerank/")


def test_a_key_in_pinecones_header_lets_in(gateway: Gateway) -> None:
    access = Access(keys=(ApiKey(digest_of("key-0123456789"), (Scope.SCORE,)),))
    gateway.show(replace(table(route("v1", "v1.1")), access=access))

    statuses = [
        gateway.post("/rerank", SUPERSET, headers=JSON | PINECONE | sent).status_code
        for sent in ({}, {"Api-Key": "wrong"}, {"Api-Key": "key-0123456789"})
    ]

    assert statuses == [401, 401, 200]
