"""What requests may take: all of a gateway process, and those for one version."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, one connection and all of them together may take.

    Part of the routes table, so that a reload changes it without a new gateway. The defaults hold
    in a gateway that has read no table yet; they are those of the config.
    """

    request_timeout_s: float = 60.0
    max_body_bytes: int = 33_554_432
    max_docs: int = 10_000
    body_timeout_s: float = 30.0
    keep_alive_s: float = 30.0
    head_timeout_s: float = 10.0
    """Counted from the connection's start, later from the first byte of each request."""
    max_head_bytes: int = 65_536
    max_connections: int = 10_000
    max_doc_chars: int = 1_000_000
    """Of each document, and of the query."""
    max_concurrent_requests: int = 1_000
    max_in_flight_bytes: int = 268_435_456
    """Bodies of the requests that are being received or worked on."""
    max_queued_pairs: int = 200_000
    """Pairs of the requests that are being worked on, of all versions."""


@dataclass(frozen=True, slots=True)
class VersionLimits:
    """What requests for one version may take; the server's own limits hold besides."""

    request_timeout_s: float = 60.0
    max_body_bytes: int = 33_554_432
    max_docs: int = 10_000
    max_doc_chars: int = 1_000_000
    max_concurrent_requests: int = 1_000
    max_in_flight_bytes: int = 268_435_456
    max_queued_pairs: int = 20_000
    """Pairs that wait in each of the version's processes."""


def share(limits: Limits, processes: int) -> Limits:
    """Return what one of so many gateway processes may hold, so that all together hold `limits`.

    Never less than the largest request that is taken at all: one process gets all of it.
    """
    return replace(
        limits,
        max_concurrent_requests=_part(limits.max_concurrent_requests, processes, 1),
        max_in_flight_bytes=_part(limits.max_in_flight_bytes, processes, limits.max_body_bytes),
        max_queued_pairs=_part(limits.max_queued_pairs, processes, limits.max_docs),
    )


def version_share(limits: VersionLimits, processes: int) -> VersionLimits:
    """Return the same of a version's limits; its queue is that of its own processes."""
    return replace(
        limits,
        max_concurrent_requests=_part(limits.max_concurrent_requests, processes, 1),
        max_in_flight_bytes=_part(limits.max_in_flight_bytes, processes, limits.max_body_bytes),
    )


def _part(whole: int, processes: int, least: int) -> int:
    return min(whole, max(-(-whole // processes), least))
