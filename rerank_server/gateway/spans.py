"""Tells an OpenTelemetry collector of each score request, where the extra `otel` is installed."""

from __future__ import annotations

import time

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rerank_server import __version__
from rerank_server.gateway.exchange import Exchange


class Spans:
    """Makes a span of each finished score request; a thread sends them in batches."""

    def __init__(self, endpoint: str) -> None:
        resource = Resource({"service.name": "rerank-server", "service.version": __version__})
        self._provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(__name__)
        self._propagator = TraceContextTextMapPropagator()

    def record(self, exchange: Exchange) -> None:
        """Note a finished request; looks at pages are left out."""
        if exchange.version is None:
            return
        ended = time.time_ns()
        span = self._tracer.start_span(
            "rerank",
            context=self._parent(exchange),
            kind=SpanKind.SERVER,
            start_time=ended - int(exchange.duration_s * 1e9),
            attributes={
                "http.response.status_code": exchange.status,
                "rerank.version": exchange.version,
                "rerank.pairs": exchange.pairs,
                "rerank.request_id": exchange.request_id,
            },
        )
        if exchange.scores is not None:
            span.set_attribute("rerank.tokens", sum(exchange.scores.tokens))
            span.set_attribute("rerank.queue_ms", exchange.scores.queue_ms)
            span.set_attribute("rerank.inference_ms", exchange.scores.inference_ms)
        if exchange.arm is not None:
            span.set_attribute("rerank.arm", exchange.arm)
        if exchange.fallback is not None:
            span.set_attribute("rerank.fallback.reason", exchange.fallback.reason.value)
        if exchange.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _parent(self, exchange: Exchange) -> Context | None:
        if exchange.trace is None:
            return None
        carrier = {"traceparent": exchange.trace.parent.decode("ascii")}
        if exchange.trace.state:
            carrier["tracestate"] = exchange.trace.state.decode("ascii")
        return self._propagator.extract(carrier)
