"""The gateway's own counters, in prometheus_client's multiprocess files, one set per slot."""

from __future__ import annotations

import bisect
import logging
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, cast

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.utils import floatToGoString

from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.slots import Slots

log = logging.getLogger(__name__)

UNKNOWN = "unknown"
"""Label of requests that asked for no configured version: a client's text is never a label."""

_CLIENT_CLOSED = 499  # in metrics only, as nginx counts them: nobody was there to read a status
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BROKEN = (RuntimeError, ValueError, struct.error, UnicodeDecodeError)

Kind = Literal["counter", "histogram", "gauge_livesum"]


class _File(Protocol):
    """What is used of prometheus_client's memory-mapped files, which carry no types."""

    def read_value(self, key: str) -> tuple[float, float]: ...

    def write_value(self, key: str, value: float, timestamp: float) -> None: ...

    def close(self) -> None: ...


class Series:
    """One number of this process, with its labels."""

    __slots__ = ("_file", "_key", "_value")

    def __init__(self, file: _File, key: str) -> None:
        self._file = file
        self._key = key
        self._value = file.read_value(key)[0]

    def add(self, amount: float = 1.0) -> None:
        """Add to it; a slot's former value goes on."""
        self.set(self._value + amount)

    def set(self, value: float) -> None:
        """Make it `value`."""
        self._value = value
        self._file.write_value(self._key, value, 0.0)


class SlotFiles:
    """The files of one slot. `prometheus_client` reads them; `Series` write them.

    Written without its metric classes: those take their directory from the environment and
    their process from a global, and lock and ask for the pid at every step.
    """

    def __init__(self, directory: Path, slot: int) -> None:
        self._directory = directory
        self._slot = slot
        self._files: dict[Kind, _File] = {}

    def series(
        self, kind: Kind, metric: str, sample: str, labels: Mapping[str, str], description: str
    ) -> Series:
        """Return the series of a metric's sample with these labels, made if it is not there."""
        key = mmap_key(metric, sample, list(labels), list(labels.values()), description)
        return Series(self._file(kind), key)

    def close(self) -> None:
        """Close the files. Idempotent."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _file(self, kind: Kind) -> _File:
        file = self._files.get(kind)
        if file is None:
            path = self._directory / f"{kind}_{self._slot}.db"
            if path.exists() and not _is_readable(path):
                log.error("metrics file is broken; starting anew", extra={"file": path.name})
                path.unlink()
            file = self._files[kind] = _open(path)
        return file


class Metrics:
    """What one gateway process counts. Labels are configured names and small sets only."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._slots = Slots(directory)
        self._files = SlotFiles(directory, self._slots.claim())
        self._requests: dict[tuple[str, int], Series] = {}
        self._durations: dict[str, _Histogram] = {}
        self._fallbacks: dict[tuple[str, str, str], Series] = {}
        self._in_flight = self._files.series(
            "gauge_livesum",
            "reranker_gateway_in_flight",
            "reranker_gateway_in_flight",
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
            durations = self._durations[version] = _Histogram(self._files, version)
        durations.observe(exchange.duration_s)
        if exchange.fallback is not None:
            self._count_fallback(exchange.fallback.asked, version, exchange.fallback.reason.value)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all gateway processes, those that are gone included."""
        for slot in self._slots.abandoned():
            (self._directory / f"gauge_livesum_{slot}.db").unlink(missing_ok=True)
        files = [str(path) for path in sorted(self._directory.glob("*.db"))]
        try:
            return _merge(files)
        except _BROKEN:
            readable = [file for file in files if _is_readable(Path(file))]
            return _merge(readable)

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
                "Requests answered by another version than the one asked for",
            )
        fallbacks.add()


class _Histogram:
    def __init__(self, files: SlotFiles, version: str) -> None:
        name = "reranker_request_duration_seconds"
        description = "Time from a score request's head to its answer, in the gateway"
        labels = {"version": version}
        self._sum = files.series("histogram", name, f"{name}_sum", labels, description)
        self._buckets: Sequence[Series] = [
            files.series("histogram", name, f"{name}_bucket", {**labels, "le": bound}, description)
            for bound in map(floatToGoString, (*_BUCKETS_S, float("inf")))
        ]

    def observe(self, seconds: float) -> None:
        self._sum.add(seconds)
        self._buckets[bisect.bisect_left(_BUCKETS_S, seconds)].add()


def _open(path: Path) -> _File:
    return cast(_File, MmapedDict(str(path)))  # type: ignore[no-untyped-call]  # has no types


def _merge(files: Sequence[str]) -> list[Metric]:
    merged = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]  # has no types
    return cast(list[Metric], list(merged))


def _is_readable(path: Path) -> bool:
    try:
        _merge([str(path)])
    except _BROKEN:
        return False
    return True
