"""Which stage of a cascade is asked for what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.traffic import Stage
from tests.gateway.cascades import BODY, DOCS, cascade, docs_sent, routes
from tests.gateway.fakes import route, table
from tests.gateway.harness import JSON, Gateway


def test_the_first_stage_prunes_and_the_last_decides(fast: Gateway) -> None:
    answer = fast.post(body=BODY)

    assert fast.workers.visits == ["v1.1", "v2.1"]
    assert docs_sent(fast) == [DOCS, ["cccc", "ddd"]]
    said = answer.json()
    assert [(each["index"], each["stage"]) for each in said["results"]] == [
        (3, "v2"),
        (2, "v2"),
        (1, "v1"),
        (0, "v1"),
    ]
    ranking = [each["score"] for each in said["results"]]
    assert ranking == sorted(set(ranking), reverse=True)
    assert ranking[:2] == [1 / 4, 1 / 5]
    assert said["version"] == "v2-fast"
    assert said["fallback"] is None
    assert answer.headers["x-rerank-version"] == "v2-fast"
    assert answer.headers["x-rerank-cascade"] == "v1:4>2; v2:2"


def test_times_and_tokens_are_those_of_all_stages(fast: Gateway) -> None:
    said = fast.post(body=BODY)

    assert said.json()["usage"] == {"pairs": 4, "tokens": 3 * 4 + 3 * 2}
    assert said.json()["timing_ms"]["inference"] == 5.0
    assert said.headers["server-timing"].startswith(
        "queue;dur=3.000, tokenize;dur=1.000, inference;dur=5.000,"
    )


@pytest.mark.parametrize("docs", [["a", "bb"], ["a"]])
def test_few_documents_go_to_the_last_stage_at_once(fast: Gateway, docs: list[str]) -> None:
    answer = fast.post(body={"query": "q", "docs": docs})

    assert fast.workers.visits == ["v2.1"]
    assert answer.headers["x-rerank-cascade"] == f"v2:{len(docs)}"
    assert answer.json()["results"][0]["stage"] == "v2"


def test_no_documents_ask_nobody(fast: Gateway) -> None:
    answer = fast.post(body={"query": "q", "docs": []})

    assert (answer.status_code, answer.json()["version"]) == (200, "v2-fast")
    assert fast.workers.visits == []
    assert "x-rerank-cascade" not in answer.headers


def test_raw_scores_keep_the_order_across_the_cut(fast: Gateway) -> None:
    said = fast.post(body=BODY | {"raw_scores": True}).json()

    # v2 gave -4 and -3; v1 gave 1 and 2 to the pruned, and 3 to the last it let through.
    assert said["scores"] == [-6.0, -5.0, -4.0, -3.0]


def test_three_stages_prune_in_turn(gateway: Gateway) -> None:
    stages = (Stage("v1", 3), Stage("v3", 2), Stage("v2"))
    gateway.show(
        table(cascade(stages=stages), route("v1", "v1.1"), route("v2", "v2.1"), route("v3", "v3.1"))
    )

    answer = gateway.post(body=BODY)

    assert docs_sent(gateway) == [DOCS, ["bb", "cccc", "ddd"], ["cccc", "ddd"]]
    assert answer.headers["x-rerank-cascade"] == "v1:4>3; v3:3>2; v2:2"
    assert [each["stage"] for each in answer.json()["results"]] == ["v2", "v2", "v3", "v1"]


def test_the_deadline_is_the_requests_own_for_all_stages(fast: Gateway) -> None:
    fast.post(body=BODY, headers={**JSON, "x-request-timeout": "2"})

    first, second = fast.workers.errands
    assert first.deadline == second.deadline
    assert first.request_id == second.request_id


@pytest.mark.parametrize(
    "path",
    ["/rerank/v2-fast", "/v1/rerank"],
)
def test_a_cascade_is_reached_by_path_header_and_body(fast: Gateway, path: str) -> None:
    fast.show(replace(routes("v3"), default="v3"))

    by_path = fast.post("/rerank/v2-fast", BODY)
    by_header = fast.post(body=BODY, headers={**JSON, "x-rerank-version": "v2-fast"})
    by_body = fast.post(body=BODY | {"model": "v2-fast"})

    answers = (by_path, by_header, by_body)
    assert {each.headers["x-rerank-version"] for each in answers} == {"v2-fast"}
