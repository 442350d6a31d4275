"""A collector hears of each score request, as part of its client's trace."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rerank_server.core.traffic import Arm, Traffic
from tests.gateway.fakes import route, table
from tests.gateway.process import PATIENCE_S, Fleet

pytestmark = pytest.mark.process

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """An OTLP receiver that keeps what it is sent."""

    def __init__(self) -> None:
        received: queue.Queue[bytes] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                received.put(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._received = received
        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def export(self) -> ExportTraceServiceRequest:
        """Return the next export."""
        export = ExportTraceServiceRequest()
        export.ParseFromString(self._received.get(timeout=PATIENCE_S))
        return export

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def test_a_span_of_each_score_request_reaches_the_collector(
    short_dir: Path, collector: Collector
) -> None:
    with Fleet(short_dir) as fleet:
        split = Traffic((Arm("v2", 0.0),))
        fleet.publish(replace(table(route("v1", "v1.1")), traffic=split))
        gateway = fleet.start("--otlp-endpoint", collector.url)
        gateway.ready()
        httpx.post(
            f"{fleet.url}/rerank",
            json={"query": "a secret", "docs": ["a secret"]},
            headers={"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Rerank-Key": "a secret"},
            timeout=PATIENCE_S,
        )
        fleet.get("/health")
        gateway.process.send_signal(signal.SIGTERM)

        export = collector.export()

    (resource,) = export.resource_spans
    (scope,) = resource.scope_spans
    (span,) = scope.spans
    attributes = {a.key: a.value.string_value or a.value.int_value for a in span.attributes}
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("rerank", TRACE, PARENT)
    assert attributes["rerank.version"] == "v1"
    assert attributes["rerank.arm"] == "v1"
    assert attributes["rerank.pairs"] == 1
    assert attributes["http.response.status_code"] == 503
    assert span.end_time_unix_nano > span.start_time_unix_nano
    assert b"secret" not in export.SerializeToString()
