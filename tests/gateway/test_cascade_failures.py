"""What a cascade answers when its stages refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.routing import FallbackReason
from rerank_server.core.traffic import Stage
from rerank_server.gateway.upstream import Errand, Lost, Outcome, Refused
from tests.gateway.cascades import BODY, cascade, routes
from tests.gateway.fakes import failure, route, scores, table
from tests.gateway.harness import JSON, Gateway


@pytest.mark.parametrize("broken", ["v1.1", "v2.1"])
def test_a_stage_that_refuses_sends_the_request_down_the_cascades_own_fallback(
    fast: Gateway, broken: str
) -> None:
    fast.workers.behaviours = {broken: Refused(FallbackReason.DRAINING)}

    answer = fast.post(body=BODY)

    assert answer.headers["x-rerank-version"] == "v3"
    assert answer.headers["x-rerank-fallback"] == "v2-fast; reason=draining"
    assert "stage" not in answer.json()["results"][0]
    assert "x-rerank-cascade" not in answer.headers


def test_a_stages_own_fallback_does_not_answer_in_its_place(fast: Gateway) -> None:
    fast.workers.behaviours = {"v2.1": Refused(FallbackReason.HUNG)}

    fast.post(body=BODY)

    assert fast.workers.visits == ["v1.1", "v2.1", "v3.1"]  # and not v1, which is v2's fallback


def test_a_cascade_whose_stage_does_not_run_is_told_with_the_reason(gateway: Gateway) -> None:
    gateway.show(
        table(
            replace(cascade("v3"), absent=FallbackReason.BACKOFF),
            route("v1", absent=FallbackReason.BACKOFF),
            route("v2", "v2.1"),
            route("v3", "v3.1"),
        )
    )

    answer = gateway.post(body=BODY)
    strict = gateway.post(body=BODY, headers={**JSON, "x-rerank-strict": "1"})

    assert answer.headers["x-rerank-fallback"] == "v2-fast; reason=backoff"
    assert strict.status_code == 503
    assert gateway.workers.visits == ["v3.1"]


def test_strict_asks_the_stages_and_nobody_else(fast: Gateway) -> None:
    headers = {**JSON, "x-rerank-strict": "1", "x-rerank-version": "v2-fast"}

    assert fast.post(body=BODY, headers=headers).status_code == 200
    fast.workers.behaviours = {"v2.1": Refused(FallbackReason.LOST)}
    assert fast.post(body=BODY, headers=headers).status_code == 503


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (failure(429, "queue_full", retry_after="2"), 429),
        (failure(500, "model_error", "it broke"), 500),
        (failure(504, "deadline_exceeded"), 504),
    ],
)
def test_a_stages_error_is_the_answer_and_is_not_tried_elsewhere(
    fast: Gateway, answer: Outcome, status: int
) -> None:
    fast.workers.behaviours = {"v2.1": answer}

    assert fast.post(body=BODY).status_code == status
    assert fast.workers.visits == ["v1.1", "v2.1"]


def test_another_instance_of_a_stage_is_tried_first(fast: Gateway) -> None:
    fast.workers.behaviours = {"v2.1": Refused(FallbackReason.LOST)}
    fast.show(
        table(cascade("v3"), route("v1", "v1.1"), route("v2", "v2.1", "v2.2"), route("v3", "v3.1"))
    )

    assert fast.post(body=BODY).headers["x-rerank-version"] == "v2-fast"
    assert fast.workers.visits == ["v1.1", "v2.1", "v2.2"]


def test_losses_of_all_stages_are_counted_together(fast: Gateway) -> None:
    fast.workers.behaviours = {"v1.1": Lost(), "v3.1": Lost()}

    assert fast.post(body=BODY).status_code == 502
    assert fast.workers.visits == ["v1.1", "v3.1!"]


def test_a_loss_in_the_last_stage_is_retried_alone_by_the_fallback(fast: Gateway) -> None:
    fast.workers.behaviours = {"v2.1": Lost()}

    answer = fast.post(body=BODY)

    assert answer.headers["x-rerank-fallback"] == "v2-fast; reason=lost"
    assert fast.workers.visits == ["v1.1", "v2.1", "v3.1!"]


def test_a_text_that_killed_two_workers_in_a_stage_is_refused_there(fast: Gateway) -> None:
    fast.workers.behaviours = {"v2.1": Lost(), "v2.2": Lost()}
    fast.show(
        table(cascade("v3"), route("v1", "v1.1"), route("v2", "v2.1", "v2.2"), route("v3", "v3.1"))
    )

    assert fast.post(body=BODY).status_code == 502
    assert fast.post(body=BODY).status_code == 502
    assert fast.workers.visits == ["v1.1", "v2.1", "v2.2!"]


@pytest.mark.parametrize("killed", ["v2", "v1"])
def test_a_text_that_kills_in_a_stage_costs_two_processes_over_all_requests(
    fast: Gateway, killed: str
) -> None:
    """The second process dies with another request: the first stage's answer clears nothing."""
    fast.workers.behaviours = {
        f"{killed}.1": Lost(),
        f"{killed}.2": Lost(),
        "v3.1": failure(500, "x"),
    }
    fast.show(table(cascade(), route("v1", "v1.1"), route("v2", "v2.1"), route("v3", "v3.1")))
    assert fast.post(body=BODY).status_code == 503
    fast.show(
        table(
            cascade("v3"),
            route("v1", "v1.2" if killed == "v1" else "v1.1"),
            route("v2", "v2.2"),
            route("v3", "v3.1"),
        )
    )

    assert fast.post(body=BODY).status_code == 502
    fast.workers.visits.clear()
    assert fast.post(body=BODY).status_code == 502
    assert fast.post("/rerank/v3", body=BODY).status_code == 502
    assert fast.workers.visits == []


def test_a_suspect_that_all_stages_score_is_cleared(fast: Gateway) -> None:
    fast.workers.behaviours = {"v2.1": Lost()}
    fast.show(table(cascade(), route("v1", "v1.1"), route("v2", "v2.1")))
    assert fast.post(body=BODY).status_code == 503
    fast.show(table(cascade(), route("v1", "v1.1"), route("v2", "v2.2")))

    assert fast.post(body=BODY).status_code == 200

    assert fast.workers.visits == ["v1.1", "v2.1", "v1.1!", "v2.2!"]
    assert fast.ledger.is_empty()


def test_a_newer_definition_is_tried_when_a_stage_is_gone_meanwhile(fast: Gateway) -> None:
    newer = table(
        cascade(stages=(Stage("v1", 2), Stage("v3"))),
        route("v1", "v1.1"),
        route("v2", "v2.1"),
        route("v3", "v3.1"),
    )

    def replaced(_: Errand) -> Outcome:
        fast.show(newer)
        return Refused(FallbackReason.DRAINING)

    fast.show(routes())
    fast.workers.behaviours = {"v2.1": replaced}

    answer = fast.post(body=BODY)

    assert answer.headers["x-rerank-version"] == "v2-fast"
    assert answer.headers["x-rerank-cascade"] == "v1:4>2; v3:2"


def test_scores_that_make_no_sense_are_an_error_of_the_request(fast: Gateway) -> None:
    fast.workers.behaviours = {"v1.1": scores([1.0])}

    assert fast.post(body=BODY).status_code == 500
