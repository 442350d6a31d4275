"""Hands each request on by its path: to scoring, or to the pages the routes table brings."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from rerank_server.errors import UnavailableError
from rerank_server.gateway.cards import Cards
from rerank_server.gateway.dialects.superset import SUPERSET
from rerank_server.gateway.exchange import exchange_of
from rerank_server.gateway.metrics import UNKNOWN
from rerank_server.gateway.paths import Page
from rerank_server.gateway.places import find, is_foreign
from rerank_server.gateway.reference import Reference
from rerank_server.gateway.scoring import Scoring


class Dispatch:
    """The ASGI endpoint of every path that nobody else has.

    The versions' paths come and go with the routes table, so they are no routes of Starlette's.
    """

    def __init__(self, scoring: Scoring, cards: Cards, reference: Reference) -> None:
        self._scoring = scoring
        self._cards = cards
        self._reference = reference

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            RerankServerError: what the client is to be told.
            ClientGoneError: nobody is left to be told anything.
        """
        exchange = exchange_of(scope)
        exchange.version = UNKNOWN
        view, path = exchange.view, scope["path"]
        if is_foreign(view, path):
            exchange.dialect = SUPERSET  # until the body shows another
        if view is None:
            raise UnavailableError("the server is starting; no version is known yet")
        place = find(view, path)
        match place.page:
            case Page.SCORE | Page.SCORE_OBJECT:
                pass
            case _:
                exchange.version = None  # not counted among score requests
                _require(scope, "GET", "HEAD")
                is_reference = place.page in (Page.OPENAPI, Page.DOCS)
                pages = self._reference if is_reference else self._cards
                await pages.serve(view, place, scope, receive, send)
                return
        exchange.version = place.version or view.table.default or UNKNOWN
        _require(scope, "POST")
        await self._scoring.serve(view, place.version, exchange, receive, send)


def _require(scope: Scope, *methods: str) -> None:
    if scope["method"] not in methods:
        raise HTTPException(405, headers={"Allow": ", ".join(methods)})
