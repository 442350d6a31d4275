"""Routes whose traffic is split, and keys for their arms."""

from __future__ import annotations

from dataclasses import replace

from rerank_server.core.routing import FallbackReason, RoutesTable
from rerank_server.core.traffic import Arm, Source, Traffic, arm_of
from tests.gateway.fakes import route, table

BODY = {"query": "q", "docs": ["a"]}
COHERE = {"model": "rerank-v3.5", "query": "q", "documents": ["a"]}


def split(*arms: tuple[str, float], source: Source = Source.CONFIG) -> RoutesTable:
    """Return a table with these shares; of its versions v3 does not run."""
    fleet = table(
        route("v1", "v1.1"),
        route("v2", "v2.1"),  # no fallback of its own
        route("v3", absent=FallbackReason.FAILED, fallback=["v2", "v1"]),
    )
    return replace(fleet, traffic=Traffic(tuple(Arm(*arm) for arm in arms), source))


def key_for(arm: str, routes: RoutesTable) -> str:
    """Return a key that belongs to this arm."""
    numbers = (f"user-{number}" for number in range(10_000))
    return next(k for k in numbers if arm_of(routes.traffic, routes.default, k) == arm)
