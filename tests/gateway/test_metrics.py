"""What /metrics says of requests and of the fleet."""

from __future__ import annotations

import math

from rerank_server.core.routing import FallbackReason
from tests.gateway.fakes import failure, route, table
from tests.gateway.fleet_state import STATE, publish_state
from tests.gateway.harness import Gateway, series

BODY = {"query": "q", "docs": ["a", "b"]}


def test_requests_are_counted_by_version_and_status(gateway: Gateway) -> None:
    gateway.show(table(route("v1", "v1.1"), route("v2", "v2.1")))
    gateway.workers.behaviours = {"v2.1": failure(500, "model_error")}

    gateway.post("/rerank", BODY)
    gateway.post("/rerank/v1", BODY)
    gateway.post("/rerank/v2", BODY)
    gateway.post("/rerank/v1", {"query": 3})
    gateway.post("/rerank/nobody", BODY)
    gateway.get("/rerank/v1")
    gateway.get("/health")
    said = series(gateway.get("/metrics").text)

    counted = {name: value for name, value in said.items() if "requests_total" in name}
    assert counted == {
        'reranker_requests_total{status="200",version="v1"}': 2.0,
        'reranker_requests_total{status="400",version="v1"}': 1.0,
        'reranker_requests_total{status="405",version="v1"}': 1.0,
        'reranker_requests_total{status="500",version="v2"}': 1.0,
        'reranker_requests_total{status="404",version="unknown"}': 1.0,
    }
    assert said['reranker_request_duration_seconds_count{version="v1"}'] == 4.0
    assert said['reranker_request_duration_seconds_bucket{le="+Inf",version="v1"}'] == 4.0
    assert said['reranker_request_duration_seconds_sum{version="v1"}'] > 0.0
    assert said["reranker_gateway_in_flight_requests"] == 0.0


def test_fallbacks_are_counted_under_configured_names_only(gateway: Gateway) -> None:
    gateway.show(
        table(
            route("v1", "v1.1"),
            route("v2", fallback=["v1"], absent=FallbackReason.FAILED),
            route("v3", enabled=False, fallback=["v1"]),
        )
    )

    gateway.post("/rerank/v2", BODY)
    gateway.post("/rerank", BODY, headers={"x-rerank-version": "v3"})
    gateway.post("/rerank", BODY, headers={"x-rerank-version": "my-own-label"})
    text = gateway.get("/metrics").text

    name = "reranker_fallback_count_total"
    said = {key: value for key, value in series(text).items() if key.startswith(name) and value}
    assert said == {
        name + '{reason="failed",to="v1",version="v2"}': 1.0,
        name + '{reason="disabled",to="v1",version="v3"}': 1.0,
        name + '{reason="unknown_version",to="v1",version="unknown"}': 1.0,
    }
    assert "label" not in text


def test_fallbacks_that_may_come_stand_at_zero_before_and_moves_to_the_cpu_count(
    gateway: Gateway,
) -> None:
    moved = {"name": "v2", "moves": {"gpu_memory": 2}}
    publish_state(gateway.directory, {**STATE, "versions": [moved]})
    gateway.show(table(route("v1", "v1.1"), route("v2", "v2.1", fallback=["v1"])))

    said = series(gateway.get("/metrics").text)

    name = "reranker_fallback_count_total"
    found = {key: value for key, value in said.items() if key.startswith(name)}
    assert found.pop(name + '{reason="gpu_memory",to="cpu",version="v2"}') == 2.0
    assert len(found) == len(FallbackReason) - 1
    assert set(found.values()) == {0.0}


def test_a_model_of_some_other_server_in_the_body_is_no_fallback_to_count(
    gateway: Gateway,
) -> None:
    answer = gateway.post("/rerank", BODY | {"model": "another-label"})

    assert answer.headers["x-rerank-fallback"] == "unknown; reason=unknown_version"
    text = gateway.get("/metrics").text
    assert not any("fallback_count_total" in key for key in series(text))
    assert "label" not in text


def test_another_version_than_the_default_for_an_unknown_model_is_counted(
    gateway: Gateway,
) -> None:
    starting = route("v1", fallback=["v2"], absent=FallbackReason.STARTING)
    gateway.show(table(starting, route("v2", "v2.1")))

    gateway.post("/rerank", BODY | {"model": "some-model"})

    said = series(gateway.get("/metrics").text)
    assert [key for key in said if "fallback_count_total" in key and said[key]] == [
        'reranker_fallback_count_total{reason="unknown_version",to="v2",version="unknown"}'
    ]


def test_the_fleets_figures_come_from_the_state_file(gateway: Gateway) -> None:
    publish_state(gateway.directory, STATE)

    said = series(gateway.get("/metrics").text)

    name = "reranker_inference_duration_seconds"
    assert said[name + '{quantile="0.5",version="v1"}'] == 0.2
    assert said[name + '{quantile="0.9",version="v1"}'] == 0.3
    assert said[name + '{quantile="0.95",version="v1"}'] == 0.4
    assert said[name + '{quantile="0.99",version="v1"}'] == 0.5
    assert said[name + '_count{version="v1"}'] == 10.0
    assert said[name + '_sum{version="v1"}'] == 2.5
    assert math.isnan(said[name + '{quantile="0.5",version="v2"}'])
    expected = {
        "reranker_pairs_total": 20.0,
        "reranker_tokens_total": 300.0,
        "reranker_model_errors_total": 1.0,
        "reranker_worker_restarts_total": 3.0,
        "reranker_queue_pairs": 40.0,
        "reranker_in_flight_requests": 2.0,
        "reranker_gpu_memory_used_bytes": 15.0,
        "reranker_memory_used_bytes": 150.0,
        "reranker_degraded": 1.0,
    }
    assert {name: said[name + '{version="v1"}'] for name in expected} == expected
    assert {said[name + '{version="v2"}'] for name in expected} == {0.0}
    assert said["reranker_config_generation"] == 7.0
    assert said["reranker_config_refused"] == 0.0
    assert said["reranker_gateway_restarts_total"] == 2.0


def test_a_worker_is_in_exactly_one_state(gateway: Gateway) -> None:
    publish_state(gateway.directory, STATE)

    said = series(gateway.get("/metrics").text)

    ones = {key for key, value in said.items() if "worker_state" in key and value == 1.0}
    assert ones == {
        'reranker_worker_state{state="RUNNING",version="v1"}',
        'reranker_worker_state{state="DISABLED",version="v2"}',
    }


def test_a_refused_config_is_seen(gateway: Gateway) -> None:
    publish_state(gateway.directory, STATE | {"config_error": "config.yaml:3: no"})

    assert series(gateway.get("/metrics").text)["reranker_config_refused"] == 1.0


def test_every_metric_has_help_and_type(gateway: Gateway) -> None:
    publish_state(gateway.directory, STATE)
    gateway.post(body=BODY)

    answer = gateway.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    helped = {
        line.split()[2] for line in lines if line.startswith("# HELP") and len(line.split()) > 3
    }
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert helped == typed
    for name in series(answer.text):
        family = name.partition("{")[0]
        assert any(family.startswith(each) for each in typed)
