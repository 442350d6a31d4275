"""The pages: /health, /ready, /versions."""

from __future__ import annotations

import pytest

from rerank_server.core.routing import FallbackReason
from tests.gateway.fakes import route, table
from tests.gateway.fleet_state import STATE, publish_state
from tests.gateway.harness import Gateway

FLEET = table(
    route("v1", absent=FallbackReason.STARTING, fallback=["v2"]),
    route("v2", "v2.1"),
    route("v3", enabled=False, fallback=["v2"]),
)


def test_health_is_open_and_constant(gateway: Gateway) -> None:
    answer = gateway.get("/health")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ready", 200),  # v2 answers for v1
        ("/ready?version=v2", 200),
        ("/ready?version=v1", 503),
        ("/ready?version=v3", 503),
        ("/ready?version=v9", 404),
        ("/ready?version=", 404),
    ],
)
def test_ready_means_that_a_request_would_be_answered_and_strictly_with_a_version(
    gateway: Gateway, path: str, status: int
) -> None:
    gateway.show(FLEET)

    answer = gateway.get(path)

    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == (status == 503)


def test_an_unknown_version_gets_the_nearest_name(gateway: Gateway) -> None:
    gateway.show(table(route("v2-m3", "v2-m3.1")))

    answer = gateway.get("/ready?version=v2-m4")

    assert "the nearest is v2-m3" in answer.json()["error"]["message"]


def test_a_stopping_server_is_not_ready_but_answers(gateway: Gateway) -> None:
    gateway.show(table(route("v1", "v1.1"), is_stopping=True))

    assert gateway.get("/ready").status_code == 503
    assert gateway.post(body={"query": "q", "docs": ["a"]}).status_code == 200


def test_versions_describe_the_fleet_without_pids_and_paths(gateway: Gateway) -> None:
    gateway.show(FLEET)
    publish_state(gateway.directory, STATE)

    said = gateway.get("/versions").json()

    assert said["default"] == "v1"
    assert said["generation"] == 7
    first, second = said["versions"]
    assert first["name"] == "v1"
    assert first["state"] == "RUNNING"
    assert first["totals"]["pairs"] == 20
    assert first["memory_bytes"] == 150
    assert first["gpu_memory_bytes"] == 15
    assert '"memory_bytes":150,' in gateway.get("/versions").text
    assert second["state"] == "DISABLED"
    assert "instances" not in first
    assert "pid" not in gateway.get("/versions").text


def test_versions_without_a_state_file_come_from_the_routes(gateway: Gateway) -> None:
    gateway.show(FLEET)

    versions = gateway.get("/versions").json()["versions"]

    assert [(each["name"], each["state"]) for each in versions] == [
        ("v1", "STARTING"),
        ("v2", "RUNNING"),
        ("v3", "DISABLED"),
    ]


@pytest.mark.parametrize("content", [b"garbage", b"[]", b'{"versions":[3]}'])
def test_a_broken_state_file_breaks_no_page(gateway: Gateway, content: bytes) -> None:
    (gateway.directory / "state.json").write_bytes(content)

    assert gateway.get("/versions").status_code == 200
    assert gateway.get("/metrics").status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/versions", "/metrics"])
def test_head_works_on_every_page(gateway: Gateway, path: str) -> None:
    answer = gateway.ask("HEAD", path)

    assert answer.status_code == 200


def test_a_gateway_that_is_replaced_asks_every_client_to_reconnect(gateway: Gateway) -> None:
    before = gateway.get("/health")
    gateway.show(table(route("v1", "v1.1"), gateway_generation=2))

    assert "connection" not in before.headers
    for answer in (
        gateway.get("/health"),
        gateway.get("/nothing"),
        gateway.post(body={"query": "q", "docs": ["a"]}),
        gateway.post(body={}),
    ):
        assert answer.headers["connection"] == "close"
