"""Requests whose arm cannot answer."""

from __future__ import annotations

import pytest

from rerank_server.core.routing import FallbackReason
from rerank_server.gateway.upstream import Lost, Refused
from tests.gateway.fakes import route, table
from tests.gateway.harness import Gateway, series
from tests.gateway.splits import BODY, COHERE, split


def test_the_share_of_a_version_that_does_not_run_goes_to_the_default_marked(
    gateway: Gateway,
) -> None:
    gateway.show(split(("v3", 100.0)))

    answer = gateway.post(body=BODY)

    assert answer.headers["x-rerank-version"] == "v1"
    assert answer.headers["x-rerank-fallback"] == "v3; reason=failed"
    assert answer.headers["x-rerank-traffic"] == "v3; share=100; by=request; source=config"
    assert gateway.workers.visits == ["v1.1"]
    counted = series(gateway.get("/metrics").text)
    labels = '{reason="failed",to="v1",version="v3"}'
    assert counted[f"reranker_fallback_count_total{labels}"] == 1


def test_a_client_of_another_server_is_told_that_the_arm_is_away(gateway: Gateway) -> None:
    gateway.show(split(("v3", 100.0)))

    answer = gateway.post("/v1/rerank", COHERE)

    assert answer.headers["x-rerank-fallback"] == "v3; reason=failed"
    counted = series(gateway.get("/metrics").text)
    assert counted['reranker_fallback_count_total{reason="failed",to="v1",version="v3"}'] == 1


def test_a_client_of_another_server_that_an_arm_serves_is_no_event(gateway: Gateway) -> None:
    gateway.show(split(("v2", 100.0)))

    answer = gateway.post("/v1/rerank", COHERE)

    assert answer.headers["x-rerank-version"] == "v2"
    assert answer.headers["x-rerank-fallback"] == "unknown; reason=unknown_version"
    counted = series(gateway.get("/metrics").text)
    fallbacks = {k: v for k, v in counted.items() if k.startswith("reranker_fallback_count")}
    assert not any(fallbacks.values())


@pytest.mark.parametrize(
    ("outcome", "reason"), [(Refused(FallbackReason.DRAINING), "draining"), (Lost(), "lost")]
)
def test_a_request_whose_arm_gives_out_on_the_way_ends_at_the_default(
    gateway: Gateway, outcome: Refused | Lost, reason: str
) -> None:
    gateway.show(split(("v2", 100.0)))
    gateway.workers.behaviours = {"v2.1": outcome}

    answer = gateway.post(body=BODY)

    assert answer.status_code == 200
    assert answer.headers["x-rerank-version"] == "v1"
    assert answer.headers["x-rerank-fallback"] == f"v2; reason={reason}"


@pytest.mark.parametrize("arm", ["v2", "v3"])
def test_strict_forbids_the_default_in_the_arms_place(gateway: Gateway, arm: str) -> None:
    gateway.show(split((arm, 100.0)))
    gateway.workers.behaviours = {"v2.1": Refused(FallbackReason.DRAINING)}

    answer = gateway.post(body=BODY, headers={"x-rerank-strict": "1"})

    assert answer.status_code == 503
    assert f"{arm} cannot answer now" in answer.json()["error"]["message"]
    assert "v1.1" not in gateway.workers.visits


def test_an_arm_that_was_taken_out_while_the_request_was_on_its_way_is_no_error(
    gateway: Gateway,
) -> None:
    gateway.show(split(("v2", 100.0)))

    def leave(_: object) -> Refused:
        gateway.show(table(route("v1", "v1.1")))
        return Refused(FallbackReason.DRAINING)

    gateway.workers.behaviours = {"v2.1": leave}

    answer = gateway.post(body=BODY)

    assert answer.headers["x-rerank-version"] == "v1"
    assert answer.headers["x-rerank-fallback"] == "v2; reason=disabled"
