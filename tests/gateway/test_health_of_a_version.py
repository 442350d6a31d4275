"""GET <endpoint>/health, shallow and deep."""

from __future__ import annotations

import orjson
import pytest

from rerank_server.core.routing import FallbackReason
from rerank_server.gateway.connection import Answer
from rerank_server.gateway.upstream import Lost, Outcome, Refused
from tests.gateway.fakes import failure, route, scores, table
from tests.gateway.harness import Gateway

FLEET = table(
    route("v1", "v1.1", "v1.2"),
    route("v2", absent=FallbackReason.BACKOFF, fallback=["v1"]),
    route("v3", enabled=False),
    route("v4", "v4.1", endpoint="/rerank/v1/health"),
)


@pytest.fixture
def fleet(gateway: Gateway) -> Gateway:
    gateway.show(FLEET)
    return gateway


@pytest.fixture
def one(gateway: Gateway) -> Gateway:
    gateway.show(table(route("v1", "v1.1")))
    return gateway


def test_a_served_version_is_healthy_without_a_worker_being_asked(one: Gateway) -> None:
    for path in ("/rerank/v1/health", "/rerank/v1/health?deep=0", "/rerank/health"):
        answer = one.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": "v1"})

    assert one.workers.visits == []


@pytest.mark.parametrize("query", ["", "?deep=1"])
@pytest.mark.parametrize(("version", "why"), [("v2", "backoff"), ("v3", "disabled")])
def test_a_version_that_is_not_served_is_503_even_if_others_answer_for_it(
    fleet: Gateway, version: str, why: str, query: str
) -> None:
    answer = fleet.get(f"/rerank/{version}/health{query}")

    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == f"version {version} is not served ({why})"


def test_deep_health_has_each_process_score_the_fixed_pairs(gateway: Gateway) -> None:
    gateway.show(table(route("v1", "v1.1", "v1.2")))
    gateway.workers.behaviours = {"v1.1": scores([9.0, 1.0, -3.0]), "v1.2": scores([8.0, 8.0, 1.0])}

    answer = gateway.get("/rerank/v1/health?deep=1")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "version": "v1",
        "instances": [
            {"id": "v1.1", "scores": [0.9, 0.1, -0.3], "inference_ms": 2.5},
            {"id": "v1.2", "scores": [0.8, 0.8, 0.1], "inference_ms": 2.5},
        ],
    }
    assert gateway.workers.visits == ["v1.1", "v1.2"]
    assert all(errand.is_probe for errand in gateway.workers.errands)


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (
            scores([1.0, 2.0, 0.5]),
            "the document that answers the question did not come first: 1, 2, 0.5",
        ),
        (scores([0.5, 0.5, 0.5]), "it gives every document the same score: 0.5"),
        (scores([]), "it scored nothing"),
        (
            Answer(200, orjson.dumps({"raw": [1.0, None], "unit": [1, 1]}), None),
            "the model gave a raw score that is no number",
        ),
        (Answer(200, b"{}", None), "the worker's answer has no raw score for each document"),
        (Answer(200, b"NaN", None), "the worker's answer is not a JSON object"),
        (failure(500, "model_error", "the model gave NaN"), "the model gave NaN"),
        (failure(429, "queue_full", "20000 pairs wait"), "20000 pairs wait"),
        (Refused(FallbackReason.DRAINING), "no answer (draining)"),
        (Lost(), "no answer (it died of it)"),
    ],
)
def test_a_version_that_does_not_score_right_is_503_with_the_reason(
    one: Gateway, outcome: Outcome, why: str
) -> None:
    one.workers.behaviours = {"v1.1": outcome}

    answer = one.get("/rerank/v1/health?deep=1")

    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == f"v1.1: {why}"
    assert "retry-after" in answer.headers


def test_only_get_and_head_ask_for_health(one: Gateway) -> None:
    assert one.ask("HEAD", "/rerank/v1/health").status_code == 200
    refused = one.post("/rerank/v1/health", {"query": "q", "docs": ["a"]})
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_a_version_whose_own_path_ends_in_health_scores_there(fleet: Gateway) -> None:
    answer = fleet.post("/rerank/v1/health", {"query": "q", "docs": ["a"]})

    assert (answer.status_code, answer.json()["version"]) == (200, "v4")


def test_the_health_of_what_is_no_version_is_not_found(one: Gateway) -> None:
    assert one.get("/rerank/v9/health").status_code == 404
    assert one.get("/nothing/health").status_code == 404


def test_probes_are_not_counted_as_requests(one: Gateway) -> None:
    one.workers.behaviours = {"v1.1": scores([2.0, 1.0])}

    one.get("/rerank/v1/health?deep=1")

    assert "requests_total{" not in one.get("/metrics").text
