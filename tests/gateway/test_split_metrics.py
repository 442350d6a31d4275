"""What is counted of a split."""

from __future__ import annotations

from rerank_server.core.routing import FallbackReason
from rerank_server.gateway.upstream import Refused
from tests.gateway.harness import Gateway, series
from tests.gateway.splits import BODY, COHERE, key_for, split


def test_requests_are_counted_by_arm_and_by_who_served_them(gateway: Gateway) -> None:
    routes = split(("v2", 5.0), ("v3", 5.0))
    gateway.show(routes)
    for arm in ("v1", "v2", "v2", "v3"):
        gateway.post(body=BODY, headers={"x-rerank-key": key_for(arm, routes)})
    gateway.post("/rerank/v2", BODY)

    counted = series(gateway.get("/metrics").text)

    name = "reranker_traffic_requests_total"
    assert {key: value for key, value in counted.items() if key.startswith(name)} == {
        f'{name}{{arm="v1",source="config",version="v1"}}': 1,
        f'{name}{{arm="v2",source="config",version="v2"}}': 2,
        f'{name}{{arm="v3",source="config",version="v1"}}': 1,
        f'{name}{{arm="v3",source="config",version="v3"}}': 0,
    }
    gauge = "reranker_traffic_share_ratio"
    assert {key: value for key, value in counted.items() if key.startswith(gauge)} == {
        f'{gauge}{{version="v2"}}': 0.05,
        f'{gauge}{{version="v3"}}': 0.05,
        f'{gauge}{{version="v1"}}': 0.9,
    }


def test_the_first_request_of_an_arm_is_an_increase(gateway: Gateway) -> None:
    gateway.show(split(("v2", 5.0)))
    gateway.post(body=BODY, headers={"x-rerank-version": "v9"})  # some fallback is counted

    counted = series(gateway.get("/metrics").text)

    name = "reranker_traffic_requests_total"
    assert counted[f'{name}{{arm="v2",source="config",version="v2"}}'] == 0
    assert counted['reranker_fallback_count_total{reason="failed",to="v1",version="v2"}'] == 0


def test_a_server_without_shares_has_no_such_series(gateway: Gateway) -> None:
    gateway.post(body=BODY)

    assert "reranker_traffic" not in gateway.get("/metrics").text


def test_a_failed_request_counts_for_its_arm(gateway: Gateway) -> None:
    gateway.show(split(("v2", 100.0)))
    gateway.workers.behaviours = dict.fromkeys(("v1.1", "v2.1"), Refused(FallbackReason.LOST))

    assert gateway.post(body=BODY).status_code == 503

    counted = series(gateway.get("/metrics").text)
    labels = '{arm="v2",source="config",version="v2"}'
    assert counted[f"reranker_traffic_requests_total{labels}"] == 1


def test_a_strict_request_for_a_model_that_is_none_here_is_no_arms_failure(
    gateway: Gateway,
) -> None:
    gateway.show(split(("v2", 100.0)))

    answer = gateway.post("/v1/rerank", COHERE, headers={"x-rerank-strict": "1"})

    assert answer.status_code == 503
    assert gateway.workers.visits == []
    counted = series(gateway.get("/metrics").text)
    assert not any(v for k, v in counted.items() if k.startswith("reranker_traffic_requests"))
