"""Puts the gateway's application together from its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from rerank_server.gateway import access_log
from rerank_server.gateway.cards import Cards
from rerank_server.gateway.dispatch import Dispatch
from rerank_server.gateway.evidence import Evidence
from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.frame import Frame
from rerank_server.gateway.health import Health
from rerank_server.gateway.metrics import Metrics
from rerank_server.gateway.reference import Reference
from rerank_server.gateway.scoring import Scoring
from rerank_server.gateway.state import StateFile
from rerank_server.gateway.table import Routes
from rerank_server.gateway.views import Views
from rerank_server.gateway.walk import Walker


@dataclass(frozen=True, slots=True)
class Parts:
    """What the application is made of; tests and benchmarks put in their own."""

    routes: Routes
    state: StateFile
    metrics: Metrics
    walker: Walker
    generation: int
    """Of this gateway; once the routes table has a newer one, clients are sent over to it."""
    evidence: Evidence | None = None
    """What a rollout is judged by."""
    log_access: bool = True
    """Whether each request is logged."""
    observe: Callable[[Exchange], None] | None = None
    """What else is to be told of each finished request."""


def build(parts: Parts, middleware: Sequence[Middleware] = ()) -> Starlette:
    """Return the application. `middleware` runs inside the frame, outside of all endpoints."""
    app = Starlette(
        routes=Views(parts.state, parts.metrics).routes(),
        exception_handlers={HTTPException: _leave_to_frame},
        middleware=[
            Middleware(
                Frame,
                routes=parts.routes,
                generation=parts.generation,
                done=_observers(parts),
            ),
            *middleware,
        ],
    )
    app.router.redirect_slashes = False
    scoring = Scoring(parts.walker, parts.metrics, parts.routes, parts.evidence)
    pages = Dispatch(scoring, Cards(parts.state), Reference())
    app.router.default = Health(pages, parts.walker)
    return app


def _observers(parts: Parts) -> Callable[[Exchange], None]:
    """Return what is to be called with each finished exchange."""
    told: list[Callable[[Exchange], None]] = [parts.metrics.count]
    if parts.log_access:
        told.append(access_log.write)
    if parts.evidence is not None:
        told.append(parts.evidence.count)
    if parts.observe is not None:
        told.append(parts.observe)

    def observe(exchange: Exchange) -> None:
        for tell in told:
            tell(exchange)

    return observe


async def _leave_to_frame(request: Request, error: Exception) -> Response:
    raise error
