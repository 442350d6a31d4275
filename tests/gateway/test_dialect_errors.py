"""Errors in each wire format: their shape, their status, and when the path decides."""

from __future__ import annotations

import pytest

from rerank_server.core.routing import FallbackReason
from rerank_server.gateway.upstream import Errand, Lost, Outcome, Refused
from tests.gateway.fakes import by_length, failure, route, table
from tests.gateway.harness import JSON, Gateway

Body = dict[str, object]
SUPERSET: Body = {"query": "q", "documents": ["a"]}
TEI: Body = {"query": "q", "texts": ["a"]}
VOYAGE: Body = {"query": "q", "documents": ["a"], "top_k": 1}
MIXEDBREAD: Body = {"query": "q", "input": ["a"]}
NIM: Body = {"query": {"text": "q"}, "passages": [{"text": "a"}]}
PAIRS: Body = {"queries": "q", "documents": ["a"]}
DASHSCOPE: Body = {"input": {"query": "q", "documents": ["a"]}}
OBJECTS = (SUPERSET, VOYAGE, MIXEDBREAD, NIM, PAIRS)


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        (SUPERSET | {"query": None}, "query", "query is missing"),
        (SUPERSET | {"query": ""}, "query", "query is empty"),
        (SUPERSET | {"query": ["q"]}, "query", "not a list"),
        (SUPERSET | {"query": {"text": "q"}}, "query", "not an object"),
        (SUPERSET | {"documents": "a"}, "documents", "not a string"),
        (SUPERSET | {"documents": {"0": "a"}}, "documents", "not an object"),
        (SUPERSET | {"documents": ["a", 4]}, "documents[1]", "not a number"),
        (SUPERSET | {"documents": ["a", None]}, "documents[1]", "not null"),
        (SUPERSET | {"documents": ["a", ["b"]]}, "documents[1]", "not a list"),
        (SUPERSET | {"documents": [{"title": "a"}]}, "documents[0].text", "missing"),
        (SUPERSET | {"documents": [{"text": 3}]}, "documents[0].text", "a number"),
        (
            SUPERSET | {"documents": [{"body": "a"}], "rank_fields": ["title"]},
            "documents[0].text",
            "missing",
        ),
        (
            SUPERSET | {"documents": [{"title": 3}], "rank_fields": ["title"]},
            "documents[0]",
            "must be strings",
        ),
        (SUPERSET | {"rank_fields": "title"}, "rank_fields", "list of strings"),
        (SUPERSET | {"top_n": -1}, "top_n", "at least 1"),
        (SUPERSET | {"top_n": 1.5}, "top_n", "whole number"),
        (SUPERSET | {"top_n": "many"}, "top_n", "not a string"),
        (SUPERSET | {"top_n": "2"}, "top_n", "not a string"),
        (SUPERSET | {"top_n": True}, "top_n", "not a boolean"),
        (SUPERSET | {"top_n": 1, "top_k": 2}, "top_k", "contradict"),
        (SUPERSET | {"return_documents": "yes"}, "return_documents", "true or false"),
        (SUPERSET | {"truncation_side": "up"}, "truncation_side", "right or left"),
        (SUPERSET | {"truncation_side": ["left"]}, "truncation_side", "right or left"),
        (SUPERSET | {"model": 3}, "model", "must be a string"),
        (SUPERSET | {"documents": ["a"] * 101}, "documents", "101"),
        (VOYAGE | {"top_k": -1}, "top_k", "at least 1"),
        (MIXEDBREAD | {"input": "a"}, "input", "not a string"),
        (MIXEDBREAD | {"input": ["a"] * 101}, "input", "101"),
        (NIM | {"query": {"text": 3}}, "query.text", "not a number"),
        (NIM | {"query": {}}, "query.text", "not null"),
        (NIM | {"passages": [{}]}, "passages[0].text", "missing"),
        (NIM | {"truncate": "MIDDLE"}, "truncate", "END"),
        (PAIRS | {"documents": None}, "documents", "missing"),
        (PAIRS | {"queries": []}, "queries", "empty"),
        (PAIRS | {"queries": ["q", ""]}, "queries[1]", "empty"),
        (PAIRS | {"queries": ["q", "r"]}, "queries", "one for each"),
        (PAIRS | {"queries": 3}, "queries", "not a number"),
    ],
)
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/rerank/v1/score"])
def test_a_bad_body_is_a_400_in_the_object_that_all_clients_read(
    gateway: Gateway, path: str, body: Body, field: str, said: str
) -> None:
    answer = gateway.post(path, body)

    assert answer.status_code == 400
    shape = answer.json()
    assert shape["error"]["code"] == 400
    assert shape["error"]["type"] in ("invalid_request", "too_large")
    assert shape["error"]["param"] == field
    assert said in shape["error"]["message"]
    assert shape["message"] == shape["detail"] == shape["error"]["message"]
    assert shape["id"] == answer.headers["x-request-id"]
    assert gateway.workers.visits == []


@pytest.mark.parametrize(
    ("body", "status", "error_type", "said"),
    [
        (TEI | {"query": None}, 422, "validation", "query is missing"),
        (TEI | {"query": 3}, 422, "validation", "not a number"),
        (TEI | {"texts": "a"}, 422, "validation", "not a string"),
        (TEI | {"texts": [3]}, 422, "validation", "not a number"),
        (TEI | {"texts": ["a"] * 101}, 422, "validation", "101"),
        (TEI | {"texts": []}, 400, "empty", "at least one"),
        (TEI | {"truncation_direction": "Up"}, 422, "validation", "Right or Left"),
        (TEI | {"return_text": 1}, 422, "validation", "true or false"),
    ],
)
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank"])
def test_a_bad_body_with_texts_gets_the_status_of_that_server(
    gateway: Gateway, path: str, body: Body, status: int, error_type: str, said: str
) -> None:
    answer = gateway.post(path, body)

    assert answer.status_code == status
    assert answer.json().keys() == {"error", "error_type"}
    assert answer.json()["error_type"] == error_type
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"input": {}}, "input.query is missing"),
        ({"input": {"query": "q"}}, "input.documents is missing"),
        ({"input": {"query": ["q"], "documents": ["a"]}}, "not a list"),
        ({"input": {"query": "q", "documents": ["a"] * 101}}, "input.documents has 101"),
        (DASHSCOPE | {"parameters": [1]}, "parameters must be an object, not a list"),
        (DASHSCOPE | {"parameters": {"top_n": "2"}}, "parameters.top_n must be"),
    ],
)
def test_a_bad_body_with_an_object_under_input_gets_dashscopes_error(
    gateway: Gateway, body: Body, said: str
) -> None:
    answer = gateway.post("/v1/rerank", body)

    assert answer.status_code == 400
    shape = answer.json()
    assert shape["code"] in ("invalid_request", "too_large")
    assert said in shape["message"]
    assert shape["request_id"] == answer.headers["x-request-id"]


def test_a_bad_body_with_pinecones_header_gets_the_object(gateway: Gateway) -> None:
    headers = JSON | {"X-Pinecone-API-Version": "2025-10"}

    answer = gateway.post("/rerank", SUPERSET | {"parameters": 3}, headers=headers)

    assert answer.status_code == 400
    assert "parameters must be an object" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("outcome", "statuses", "error_type"),
    [
        (failure(429, "queue_full", retry_after="7"), (429, 429), "overloaded"),
        (failure(500, "model_error", "NaN"), (500, 424), "backend"),
        (failure(504, "deadline_exceeded"), (504, 504), "backend"),
        (failure(400, "invalid_request", "no"), (400, 422), "validation"),
        (failure(503, "unheard_of"), (500, 500), "backend"),
    ],
)
def test_a_workers_error_is_told_in_every_format(
    gateway: Gateway, outcome: Outcome, statuses: tuple[int, int], error_type: str
) -> None:
    gateway.workers.behaviours = {"v1.1": outcome}

    for body in OBJECTS:
        answer = gateway.post("/rerank", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (statuses[0], statuses[0])
        assert ("retry-after" in answer.headers) == (statuses[0] == 429)
    answer = gateway.post("/rerank", TEI)
    assert answer.status_code == statuses[1]
    assert answer.json()["error_type"] == error_type


@pytest.mark.parametrize("body", [*OBJECTS, TEI, DASHSCOPE])
def test_no_version_is_503_and_a_lost_worker_502_in_every_format(
    gateway: Gateway, body: Body
) -> None:
    gateway.show(table(route("v1")))
    nobody = gateway.post("/rerank", body)
    gateway.show(table(route("v1", "v1.1", "v1.2")))
    gateway.workers.behaviours = {"v1.1": Lost(), "v1.2": Lost()}
    lost = gateway.post("/rerank", body)

    assert (nobody.status_code, lost.status_code) == (503, 502)
    assert "retry-after" in nobody.headers


@pytest.mark.parametrize(
    ("path", "is_object"),
    [
        ("/rerank", False),
        ("/rerank/v1", False),
        ("/rerank/v1/rerank", False),
        ("/v1/rerank", True),
        ("/v2/rerank", True),
        ("/score", True),
        ("/v1/score", True),
        ("/reranking", True),
        ("/rerank/v1/v1/reranking", True),
        ("/v1/v1/rerank", True),
        ("/reranks", True),
        ("/v1/retrieval/x/reranking", True),
        ("/api/v1/services/rerank/text-rerank/text-rerank", True),
    ],
)
@pytest.mark.parametrize(
    ("content", "status"), [(b"hello", 400), (b'{"query":"q"}', 400), (b"x" * 10_001, 413)]
)
def test_before_the_body_shows_its_format_the_path_decides(
    gateway: Gateway, path: str, is_object: bool, content: bytes, status: int
) -> None:
    answer = gateway.post(path, content=content)

    assert answer.status_code == status
    assert ("detail" in answer.json()) == is_object
    assert ("request_id" in answer.json()) != is_object


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/rerank", 405),
        ("POST", "/rerank/v9/v1/rerank", 404),
        ("POST", "/nothing/score", 404),
        ("POST", "/v1", 404),
        ("POST", "/v2/embed", 404),
        ("GET", "/v1/v1/rerank", 405),
    ],
)
def test_a_wrong_path_or_method_is_told_in_the_form_of_the_path(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    answer = gateway.ask(method, path, content=b"{}")

    assert answer.status_code == status
    assert answer.json()["detail"] == answer.json()["message"]


def test_a_wrong_version_before_a_known_path_gets_the_nearest_name(gateway: Gateway) -> None:
    gateway.show(table(route("v2-m3", "v2-m3.1")))

    answer = gateway.post("/rerank/v2-m4/v1/rerank", SUPERSET)

    assert "the nearest is v2-m3 at /rerank/v2-m3" in answer.json()["detail"]


def test_scores_of_two_versions_are_never_mixed(gateway: Gateway) -> None:
    gateway.show(table(route("v1", "v1.1", fallback=["v2"]), route("v2", "v2.1")))

    def drain_for_b(errand: Errand) -> Outcome:
        return by_length(errand) if b'"a"' in errand.payload else Refused(FallbackReason.DRAINING)

    gateway.workers.behaviours = {"v1.1": drain_for_b}

    answer = gateway.post("/score", {"queries": ["a", "b"], "documents": ["x", "y"]})

    assert answer.status_code == 503
    assert "version changed" in answer.json()["detail"]
