"""Routes with a cascade, and what its stages were sent."""

from __future__ import annotations

from dataclasses import replace

import orjson

from rerank_server.core.routing import RoutesTable, VersionRoute
from rerank_server.core.traffic import Stage
from rerank_server.gateway.upstream import Errand, Outcome
from tests.gateway.fakes import route, scores, table
from tests.gateway.harness import Gateway

STAGES = (Stage("v1", 2), Stage("v2"))
DOCS = ["a", "bb", "cccc", "ddd"]
BODY = {"query": "q", "docs": DOCS}


def cascade(*fallback: str, stages: tuple[Stage, ...] = STAGES) -> VersionRoute:
    """Return a cascade of these stages."""
    return replace(route("v2-fast", fallback=fallback), cascade=stages, absent=None)


def routes(*fallback: str) -> RoutesTable:
    """Return a table where the cascade is the default."""
    return table(
        cascade(*fallback),
        route("v1", "v1.1"),
        route("v2", "v2.1", fallback=["v1"]),
        route("v3", "v3.1"),
    )


def by_shortness(errand: Errand) -> Outcome:
    """Score each document the higher the shorter it is: the opposite of what others do."""
    docs = orjson.loads(errand.payload)["docs"]
    return scores([-float(len(doc)) for doc in docs], unit=[1 / (1 + len(doc)) for doc in docs])


def docs_sent(gateway: Gateway) -> list[list[str]]:
    """Return the documents of each call of a worker."""
    return [orjson.loads(errand.payload)["docs"] for errand in gateway.workers.errands]
