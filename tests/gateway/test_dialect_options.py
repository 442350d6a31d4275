"""What a request may ask for in each wire format."""

from __future__ import annotations

from functools import reduce
from operator import getitem

import orjson
import pytest

from tests.gateway.dialect_samples import (
    DASHSCOPE,
    MIXEDBREAD,
    NIM,
    PAIRS,
    PINECONE,
    SUPERSET,
    TEI,
    VOYAGE,
    Body,
)
from tests.gateway.fakes import Behaviour, scores
from tests.gateway.harness import JSON, Gateway

RAW: Body = {"raw_scores": True}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (SUPERSET | RAW, "results.relevance_score"),
        (SUPERSET | {"use_activation": False}, "results.relevance_score"),
        (SUPERSET | {"use_activation": "false", "raw_scores": False}, "results.relevance_score"),
        (SUPERSET | {"activation": False}, "results.relevance_score"),
        (SUPERSET | {"normalize": False}, "results.relevance_score"),
        (SUPERSET | {"raw_scores": True, "normalize": True}, "results.relevance_score"),
        (TEI | RAW, "score"),
        (VOYAGE | RAW, "data.relevance_score"),
        (MIXEDBREAD | RAW, "data.score"),
        (NIM | RAW, "rankings.logit"),
        (DASHSCOPE | {"parameters": RAW}, "output.results.relevance_score"),
        (PAIRS | {"use_activation": False}, "data.score"),
    ],
)
def test_raw_scores_come_on_request_only_by_each_formats_own_flag(
    gateway: Gateway, body: Body, place: str
) -> None:
    said = gateway.post("/rerank", body).json()

    *above, key = place.split(".")
    entries = reduce(getitem, above, said)
    assert max(entry[key] for entry in entries) == 3.0


@pytest.mark.parametrize(
    "more",
    [{"use_activation": True}, {"normalize": "true"}, {"raw_scores": False}, {"normalize": None}],
)
def test_a_flag_for_scores_in_0_to_1_changes_nothing(gateway: Gateway, more: Body) -> None:
    said = gateway.post("/v1/rerank", SUPERSET | more).json()

    assert said["results"][0]["relevance_score"] == 0.3


@pytest.mark.parametrize(
    ("body", "place", "expected"),
    [
        (SUPERSET | {"return_documents": True}, ("results", "document"), {"text": "bbb"}),
        (SUPERSET | {"return_documents": "true"}, ("results", "document"), {"text": "bbb"}),
        (SUPERSET | {"truncate_prompt_tokens": 99}, ("results", "document"), {"text": "bbb"}),
        (VOYAGE | {"return_documents": True}, ("data", "document"), "bbb"),
        (TEI | {"return_text": True}, (None, "text"), "bbb"),
        (MIXEDBREAD | {"return_input": True}, ("data", "input"), "bbb"),
        (MIXEDBREAD | {"return_input": False}, ("data", "input"), None),
        (SUPERSET | {"return_documents": True}, ("data", "document"), "bbb"),
    ],
)
def test_documents_come_back_on_request_in_each_formats_own_form(
    gateway: Gateway, body: Body, place: tuple[str | None, str], expected: object
) -> None:
    said = gateway.post("/rerank", body).json()

    entries = said if place[0] is None else said[place[0]]
    assert entries[0][place[1]] == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"top_n": 2}, 2),
        ({"top_n": 0}, 3),
        ({"top_n": None}, 3),
        ({"top_n": 99}, 3),
        ({"top_n": 1.0}, 1),
        ({"top_n": 2, "top_k": 2}, 2),
        ({"top_n": 2, "top_k": None}, 2),
    ],
)
def test_top_n_cuts_the_results_and_0_means_all(
    gateway: Gateway, more: Body, expected: int
) -> None:
    said = gateway.post("/v1/rerank", SUPERSET | more).json()

    assert len(said["results"]) == expected


def test_nothing_is_ever_left_out_of_the_bare_array(gateway: Gateway) -> None:
    assert len(gateway.post("/rerank", TEI | {"top_n": 1}).json()) == 3


def test_documents_may_be_objects_with_text_or_with_rank_fields(gateway: Gateway) -> None:
    documents = ["x", {"text": "y", "title": "t"}, {"text": "", "id": 7}]

    gateway.post("/v1/rerank", {"query": "q", "documents": documents})
    gateway.post(
        "/v1/rerank",
        {
            "query": "q",
            "documents": [{"title": "t", "body": "b", "text": "z"}, "s", {"text": "only"}],
            "rank_fields": ["title", "missing", "body"],
        },
    )

    sent = [orjson.loads(errand.payload)["docs"] for errand in gateway.workers.errands]
    assert sent == [["x", "y", ""], ["t\nb", "s", "only"]]


@pytest.mark.parametrize(
    "body",
    [
        # What Dify, RAGFlow, LiteLLM, Xinference's and Cohere's clients really send.
        SUPERSET | {"top_n": None, "return_documents": True},
        SUPERSET | {"return_documents": "true", "return_len": "true"},
        SUPERSET | {"max_chunks_per_doc": None, "return_len": None, "kwargs": "{}", "top_n": 3},
        SUPERSET | {"max_tokens_per_doc": 4096, "priority": 0, "top_n": 3},
        SUPERSET | {"rank_fields": None, "top_n": 3, "user": {"a": [1]}, "request_id": "r"},
        TEI | {"raw_scores": False, "truncate": True, "truncation_direction": "Right"},
        TEI | {"truncate": None, "return_text": True, "top_n": None},
        TEI | {"truncate": False, "truncation_direction": "Left"},
        VOYAGE | {"truncation": True, "return_documents": False, "top_k": None},
    ],
)
def test_what_clients_send_beside_the_documents_is_taken(gateway: Gateway, body: Body) -> None:
    assert gateway.post("/rerank", body).status_code == 200


def test_documents_cut_by_the_model_are_told_or_refused_as_asked(gateway: Gateway) -> None:
    gateway.workers.behaviours = {"v1.1": scores([1.0, 2.0, 3.0], truncated=[1])}

    told = gateway.post("/v1/rerank", SUPERSET).json()
    cut = gateway.post("/rerank", TEI)
    refusals = [
        gateway.post("/rerank", TEI | {"truncate": False}),
        gateway.post("/rerank", TEI | {"truncation_direction": "Left"}),
        gateway.post("/rerank", SUPERSET | {"truncation_side": "left"}),
        gateway.post("/rerank", VOYAGE | {"truncation": False}),
        gateway.post("/rerank", NIM | {"truncate": "NONE"}),
        gateway.post(
            "/rerank",
            SUPERSET | {"parameters": {"truncate": "NONE"}},
            headers=JSON | PINECONE,
        ),
    ]

    assert "cut" in told["meta"]["warnings"][0]
    assert cut.status_code == 200
    assert [refusal.status_code for refusal in refusals] == [422, 422, 400, 400, 400, 400]


def _by_query(behaviour: dict[str, float]) -> Behaviour:
    return lambda errand: scores(
        [behaviour[orjson.loads(errand.payload)["query"]] + len(doc)
         for doc in orjson.loads(errand.payload)["docs"]]
    )  # fmt: skip


def test_pairs_of_several_queries_come_back_in_their_order(gateway: Gateway) -> None:
    gateway.workers.behaviours = {"v1.1": _by_query({"a": 0.0, "b": 100.0})}

    said = gateway.post(
        "/score",
        {
            "text_1": ["a", "b", "a", "b"],
            "text_2": ["x", "xx", "xxx", "xxxx"],
            "use_activation": False,
        },
    ).json()

    assert [entry["score"] for entry in said["data"]] == [1.0, 102.0, 3.0, 104.0]
    assert said["usage"]["total_tokens"] == 12
    assert len(gateway.workers.errands) == 2


def test_no_documents_are_no_results_and_no_work(gateway: Gateway) -> None:
    said = gateway.post("/v1/rerank", SUPERSET | {"documents": []}).json()

    assert said["results"] == []
    assert said["meta"]["billed_units"]["search_units"] == 0
    assert gateway.workers.errands == []
