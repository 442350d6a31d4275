"""The gateway's own counters, in prometheus_client's multiprocess files, one set per slot."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prometheus_client.metrics_core import Metric

from rerank_server.gateway.cascade_metrics import CascadeMetrics
from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.fleet_metrics import FALLBACK_HELP
from rerank_server.gateway.mirror_metrics import MirrorMetrics
from rerank_server.gateway.slot_files import Histogram, Series, SlotFiles, read
from rerank_server.gateway.slots import Slots
from rerank_server.gateway.traffic_metrics import TrafficMetrics

UNKNOWN = "unknown"
"""Label of requests that asked for no configured version: a client's text is never a label."""

_CLIENT_CLOSED = 499  # in metrics only, as nginx counts them: nobody was there to read a status
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """What one gateway process counts. Labels are configured names and small sets only."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._slots = Slots(directory)
        self._files = SlotFiles(directory, self._slots.claim())
        self._requests: dict[tuple[str, int], Series] = {}
        self._durations: dict[str, Histogram] = {}
        self._fallbacks: dict[tuple[str, str, str], Series] = {}
        self._traffic = TrafficMetrics(self._files)
        self._cascades = CascadeMetrics(self._files)
        self.mirror = MirrorMetrics(self._files)
        self._in_flight = self._files.series(
            "gauge_livesum",
            "reranker_gateway_in_flight_requests",
            "reranker_gateway_in_flight_requests",
            {},
            "Score requests that the gateway is working on",
        )
        self._held = self._files.series(
            "gauge_livesum",
            "reranker_gateway_in_flight_bytes",
            "reranker_gateway_in_flight_bytes",
            {},
            "Bodies of the requests that the gateway receives or works on",
        )
        self._held.set(0.0)
        self._in_flight.set(0.0)  # of whoever had the slot before, nothing is in flight

    def began(self) -> None:
        """Count a score request in."""
        self._in_flight.add(1.0)

    def ended(self) -> None:
        """Count a score request out."""
        self._in_flight.add(-1.0)

    def holds(self, body_bytes: int) -> None:
        """Note how many bytes of bodies are in flight."""
        self._held.set(body_bytes)

    def count(self, exchange: Exchange) -> None:
        """Count a finished exchange, if it was a score request."""
        version = exchange.version
        if version is None:
            return
        key = (version, exchange.status or _CLIENT_CLOSED)
        requests = self._requests.get(key)
        if requests is None:
            requests = self._requests[key] = self._files.series(
                "counter",
                "reranker_requests",
                "reranker_requests_total",
                {"version": version, "status": str(key[1])},
                "Score requests by the version that served them, or was asked for, and HTTP status",
            )
        requests.add()
        durations = self._durations.get(version)
        if durations is None:
            durations = self._durations[version] = Histogram(
                self._files,
                "reranker_request_duration_seconds",
                "Time from a score request's head to its answer, in the gateway",
                {"version": version},
                _BUCKETS_S,
            )
        durations.observe(exchange.duration_s)
        self._traffic.count(exchange, version)
        self._cascades.count(exchange, version)
        if exchange.fallback is not None:
            self._count_fallback(exchange.fallback.asked, version, exchange.fallback.reason.value)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all gateway processes, those that are gone included."""
        for slot in self._slots.abandoned():
            (self._directory / f"gauge_livesum_{slot}.db").unlink(missing_ok=True)
        return read(self._directory)

    def close(self) -> None:
        """Close the files and let go of the slot. Idempotent."""
        self._in_flight.set(0.0)
        self._files.close()
        self._slots.release()

    def _count_fallback(self, asked: str, to: str, reason: str) -> None:
        key = (asked, to, reason)
        fallbacks = self._fallbacks.get(key)
        if fallbacks is None:
            fallbacks = self._fallbacks[key] = self._files.series(
                "counter",
                "reranker_fallback_count",
                "reranker_fallback_count_total",
                {"version": asked, "to": to, "reason": reason},
                FALLBACK_HELP,
            )
        fallbacks.add()
