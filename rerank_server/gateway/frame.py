"""The middleware around everything: request id, routes table, errors, lame duck."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rerank_server.errors import (
    ForbiddenError,
    MethodNotAllowedError,
    NotFoundError,
    RerankServerError,
    UnauthorizedError,
)
from rerank_server.gateway import cors, keys
from rerank_server.gateway.answers import Headers, send_error
from rerank_server.gateway.body import ClientGoneError
from rerank_server.gateway.dialects.superset import SUPERSET
from rerank_server.gateway.exchange import Exchange, RequestIds, attach
from rerank_server.gateway.places import is_foreign
from rerank_server.gateway.split import headers as traffic_headers
from rerank_server.gateway.split import split_of
from rerank_server.gateway.table import Routes
from rerank_server.gateway.trace import trace_of

log = logging.getLogger(__name__)

CLIENT_GONE = "client gone"
"""Message with which the server cancels the task of a request whose client hung up."""


class Frame:
    """Gives each request its exchange, and turns every exception into an answer.

    A pure ASGI middleware: it holds no answer back and adds no task.
    """

    def __init__(
        self, app: ASGIApp, routes: Routes, generation: int, done: Callable[[Exchange], None]
    ) -> None:
        self._app = app
        self._routes = routes
        self._generation = generation
        self._done = done
        self._ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        exchange = Exchange(
            request_id=self._ids.of(headers.get(b"x-request-id")),
            started=time.monotonic(),
            headers=headers,
            view=self._routes.current(),
            trace=trace_of(headers),
        )
        attach(scope, exchange)

        async def send_framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                exchange.duration_s = time.monotonic() - exchange.started
                message["headers"] = [*message["headers"], *self._headers(exchange)]
            await send(message)

        try:
            await self._serve(scope, receive, send_framed, exchange)
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (CLIENT_GONE,):
                raise
        finally:
            exchange.duration_s = exchange.duration_s or time.monotonic() - exchange.started
            self._done(exchange)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, exchange: Exchange) -> None:
        try:
            if not await self._is_turned_away(scope, send, exchange):
                await self._app(scope, receive, send)
        except ClientGoneError:
            return
        except Exception as error:
            if exchange.status:
                _report(error, exchange)
                return  # too late for an answer: the server closes the unfinished one
            translated, more = _translate(error, exchange)
            more += traffic_headers(split_of(exchange))
            await send_error(receive, send, exchange, translated, more)

    async def _is_turned_away(self, scope: Scope, send: Send, exchange: Exchange) -> bool:
        """Answer a browser that only asks whether it may ask; check all others' keys.

        Raises:
            UnauthorizedError, ForbiddenError: the request's key does not let it in.
        """
        if exchange.view is None:
            return False
        access, method = exchange.view.table.access, scope["method"]
        allowed = cors.preflight(access, method, exchange.headers)
        if allowed is not None:
            await send({"type": "http.response.start", "status": 204, "headers": allowed})
            await send({"type": "http.response.body", "body": b""})
            return True
        if access.keys:
            try:
                keys.check(
                    exchange.view, method, scope["path"], scope["query_string"], exchange.headers
                )
            except (UnauthorizedError, ForbiddenError):
                if is_foreign(exchange.view, scope["path"]):
                    exchange.dialect = SUPERSET
                raise
        return False

    def _headers(self, exchange: Exchange) -> Headers:
        added = [(b"x-request-id", exchange.request_id.encode("ascii"))]
        if exchange.view is not None:
            added += cors.headers_for(exchange.view.table.access, exchange.headers)
        view = self._routes.current()  # not the exchange's: it may have taken a while
        if view is not None and view.table.gateway_generation > self._generation:
            # A newer gateway listens on the same socket: send the clients over to it.
            added.append((b"connection", b"close"))
        return added


def _translate(error: Exception, exchange: Exchange) -> tuple[RerankServerError, Headers]:
    """Return the error to answer with, and headers that belong to it."""
    match error:
        case UnauthorizedError():
            return error, [(b"www-authenticate", b"Bearer")]
        case RerankServerError():
            return error, []
        case HTTPException(status_code=405):
            allow = (error.headers or {}).get("Allow", "GET")
            return MethodNotAllowedError(f"this path takes {allow}"), [(b"allow", allow.encode())]
        case HTTPException(status_code=404):
            return NotFoundError(), []
        case _:
            _report(error, exchange)
            return RerankServerError(), []


def _report(error: Exception, exchange: Exchange) -> None:
    """Log where it happened, without the error's message: that may hold a request's text."""
    log.error(
        "request failed unexpectedly",
        extra={
            "error": type(error).__name__,
            "request_id": exchange.request_id,
            "trace_id": exchange.trace.trace_id if exchange.trace is not None else None,
            "stack": "".join(traceback.format_tb(error.__traceback__)),
        },
    )
