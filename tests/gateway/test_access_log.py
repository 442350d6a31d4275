"""One line a request, of figures and configured names only; traces and times go with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rerank_server.core.routing import FallbackReason
from rerank_server.core.traffic import Arm, Traffic
from rerank_server.gateway.trace import trace_of
from rerank_server.logs import Console, Json
from tests.gateway.fakes import failure, route, table
from tests.gateway.harness import JSON, Gateway

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BODY = {"query": "a secret query", "docs": ["a secret document", "another"]}
SECRETS = {"X-API-Key": "a-secret-key", "Cookie": "a-secret-cookie"}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, log_access=True)
    away = route("v2", fallback=["v1"], absent=FallbackReason.FAILED)
    gateway.show(table(route("v1", "v1.1"), away))
    yield gateway
    gateway.close()


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """Return the access lines, as JSON writes them."""
    own = [r for r in caplog.records if r.name.endswith("access_log")]
    assert not any("secret" in form.format(r) for r in own for form in (Json(), Console()))
    return [json.loads(Json().format(record)) for record in own]


def test_a_request_writes_one_line_of_who_how_much_and_how_long(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    sent = {**JSON, **SECRETS, "traceparent": PARENT, "X-Request-ID": "mine"}

    with caplog.at_level(logging.INFO):
        gateway.post("/rerank/v2", BODY, headers=sent)

    (line,) = lines(caplog)
    assert 0 < float(str(line.pop("total_ms"))) < 5000
    assert {k: line[k] for k in line if k not in ("time", "logger", "pid")} == {
        "level": "info",
        "message": "request",
        "request_id": "mine",
        "status": 200,
        "version": "v1",
        "pairs": 2,
        "tokens": 6,
        "queue_ms": 1.5,
        "tokenize_ms": 0.5,
        "inference_ms": 2.5,
        "fallback_from": "v2",
        "fallback_reason": "failed",
        "trace_id": PARENT[3:35],
    }


@pytest.mark.parametrize(
    ("body", "status"), [({"query": 3}, 400), ({"a secret": 1}, 400), (BODY, 429)]
)
def test_an_error_writes_one_line_too(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, body: object, status: int
) -> None:
    gateway.workers.behaviours = {"v1.1": failure(429, "queue_full")}

    with caplog.at_level(logging.INFO):
        gateway.post("/rerank", body, headers={**JSON, **SECRETS})

    (line,) = lines(caplog)
    assert line["status"] == status
    assert "tokens" not in line


def test_looks_at_pages_are_no_news(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        gateway.get("/health")
        gateway.get("/metrics")

    assert not lines(caplog)


def test_the_answer_tells_where_the_time_went(gateway: Gateway) -> None:
    said = gateway.post(body=BODY).headers["server-timing"]

    steps = dict(part.split(";dur=") for part in said.split(", "))
    total_ms = float(steps.pop("total"))
    assert steps == {"queue": "1.500", "tokenize": "0.500", "inference": "2.500"}
    assert 0 < total_ms < 5000


def test_a_trace_is_passed_on_to_the_worker(gateway: Gateway) -> None:
    gateway.post(body=BODY, headers={**JSON, "traceparent": PARENT, "tracestate": "a=1,b=2"})

    (errand,) = gateway.workers.errands
    assert errand.trace is not None
    assert errand.trace.header_line() == (
        f"traceparent: {PARENT}\r\ntracestate: a=1,b=2\r\n".encode()
    )


@pytest.mark.parametrize(
    "parent",
    [
        "", PARENT[:-1], f"{PARENT}0", PARENT.upper(), f"ff{PARENT[2:]}",
        f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        f"{PARENT}\r\nx: y",
    ],
)  # fmt: skip
def test_a_broken_trace_is_no_trace(parent: str) -> None:
    assert trace_of({b"traceparent": parent.encode()}) is None


@pytest.mark.parametrize("state", ["a" * 513, "\xff", "a\tb", "a\r\nb"])
def test_a_state_that_is_not_fit_to_pass_on_is_dropped(state: str) -> None:
    found = trace_of({b"traceparent": PARENT.encode(), b"tracestate": state.encode()})

    assert found is not None
    assert found.state == b""


def test_the_arm_is_told_and_never_the_key(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    split = replace(table(route("v1", "v1.1")), traffic=Traffic((Arm("v1", 0.0),)))
    gateway.show(split)

    with caplog.at_level(logging.INFO):
        gateway.post("/rerank", BODY, headers={**JSON, "X-Rerank-Key": "a-secret-user"})

    (line,) = lines(caplog)
    assert line["arm"] == "v1"
