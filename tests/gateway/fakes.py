"""Stand-ins for what surrounds the gateway: routes tables, and workers without processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from rerank_server.core.limits import Limits
from rerank_server.core.routing import (
    FallbackReason,
    RoutesTable,
    Target,
    VersionRoute,
)
from rerank_server.gateway.connection import Answer
from rerank_server.gateway.table import View, view_of
from rerank_server.gateway.upstream import Errand, Outcome

LIMITS = Limits(
    request_timeout_s=5.0,
    max_body_bytes=10_000,
    max_docs=100,
    body_timeout_s=5.0,
    keep_alive_s=5.0,
)


def route(
    name: str,
    *instances: str,
    fallback: Sequence[str] = (),
    enabled: bool = True,
    absent: FallbackReason | None = None,
    endpoint: str | None = None,
    sockets: str = "/nowhere",
) -> VersionRoute:
    """Return a version's route with a target for each instance id."""
    if not instances and absent is None:
        absent = FallbackReason.STARTING if enabled else FallbackReason.DISABLED
    return VersionRoute(
        name=name,
        endpoint=endpoint or f"/rerank/{name}",
        description=f"about {name}",
        enabled=enabled,
        targets=tuple(Target(i, f"{sockets}/{i}.sock") for i in instances),
        absent=None if instances else absent,
        fallback=tuple(fallback),
    )


def table(
    *routes: VersionRoute,
    default: str | None = None,
    limits: Limits = LIMITS,
    gateway_generation: int = 1,
    is_stopping: bool = False,
) -> RoutesTable:
    """Return a table of these routes; the first is the default."""
    return RoutesTable(
        generation=7,
        gateway_generation=gateway_generation,
        default=default or routes[0].name,
        last_resort=None,
        versions={route.name: route for route in routes},
        limits=limits,
        is_stopping=is_stopping,
    )


@dataclass(slots=True)
class FixedRoutes:
    """Routes that a test sets."""

    view: View | None = None

    def show(self, routes_table: RoutesTable) -> None:
        """Make this the current table."""
        self.view = view_of(routes_table)

    def current(self) -> View | None:
        """Return it."""
        return self.view


Behaviour = Callable[[Errand], Outcome]


def scores(raw: Sequence[float], **more: object) -> Answer:
    """Return a worker's answer with these raw scores; unit scores are a tenth of them."""
    body: dict[str, object] = {
        "raw": list(raw),
        "unit": [score / 10 for score in raw],
        "tokens": [3] * len(raw),
        "truncated": [],
        "queue_ms": 1.5,
        "tokenize_ms": 0.5,
        "inference_ms": 2.5,
    }
    return Answer(200, orjson.dumps(body | more), None)


def failure(status: int, code: str, message: str = "", retry_after: str | None = None) -> Answer:
    """Return a worker's error answer."""
    return Answer(status, orjson.dumps({"code": code, "message": message}), retry_after)


def by_length(errand: Errand) -> Outcome:
    """Score each document by its length, as a worker would."""
    docs = orjson.loads(errand.payload)["docs"]
    return scores([float(len(doc)) for doc in docs])


@dataclass(slots=True)
class FakeUpstream:
    """Workers that behave as told, by instance id; the others score by length."""

    behaviours: Mapping[str, Behaviour | Outcome] = field(default_factory=dict)
    visits: list[str] = field(default_factory=list)
    """Instances asked, in order; `!` behind those asked to score alone."""
    errands: list[Errand] = field(default_factory=list)

    async def score(self, target: Target, errand: Errand) -> Outcome:
        """Behave."""
        self.visits.append(target.instance + ("!" if errand.is_alone else ""))
        self.errands.append(errand)
        behaviour = self.behaviours.get(target.instance, by_length)
        return behaviour(errand) if callable(behaviour) else behaviour
