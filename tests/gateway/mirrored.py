"""Routes of two versions, the second of which scores copies of what the first answers."""

from __future__ import annotations

from dataclasses import replace

from rerank_server.core.routing import RoutesTable
from rerank_server.core.traffic import Mirror
from tests.gateway.fakes import LIMITS, route, table

LARGE = 50_000_000


def mirrored(sockets: str = "/nowhere", share: float = 1.0) -> RoutesTable:
    """Return two versions; the second scores copies of what the first answers."""
    routes = table(
        route("v1", "v1.1", sockets=sockets),
        route("v2", "v2.1", sockets=sockets),
        limits=replace(LIMITS, max_body_bytes=LARGE, max_in_flight_bytes=10 * LARGE),
    )
    return replace(routes, mirror=Mirror("v2", share))
