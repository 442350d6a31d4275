"""The HTTP/1.1 protocol of the gateway: uvicorn's, with the bounds it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from rerank_server.core.limits import Limits
from rerank_server.errors import (
    BadRequestError,
    RequestTimeoutError,
    RerankServerError,
    TooLargeError,
    UnavailableError,
)
from rerank_server.gateway.exchange import RequestIds
from rerank_server.gateway.frame import CLIENT_GONE
from rerank_server.gateway.native import NATIVE

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application
    from uvicorn.config import Config
    from uvicorn.server import ServerState

_LINGER_S = 1.0  # how long a refused sender may take to read its answer before the reset
_FEW_BYTES = 1 << 16  # unsent bytes that are not worth adding up over all connections
_CONNECTION_WORDS = (b"close", b"keep-alive")


class HeadTooLargeError(TooLargeError):
    """The request's head is larger than this server takes."""

    status = 431
    code = "head_too_large"


class _Reading(Enum):
    NOTHING = "nothing"
    HEAD = "head"
    BODY = "body"


class GatewayProtocol(HttpToolsProtocol):
    """One client connection.

    Beyond uvicorn's: a deadline and a size limit for heads, a cap on connections, errors in the
    server's own shape, and the task of a request whose client hung up is cancelled.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Callable[[], Limits],
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._current = limits
        self._limits = limits()
        self._reading = _Reading.NOTHING
        self._head_bytes = 0
        self._is_deaf = False
        self._is_upgrade = False
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._running: tuple[RequestResponseCycle, asyncio.Task[None]] | None = None

    # --- called by the event loop -----------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Start the head's deadline, or turn the connection away."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            self.connections.discard(self)
            self._refuse(UnavailableError("too many connections; try again shortly"))
        else:
            self._set_timer(self._limits.head_timeout_s, self._on_head_timeout)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, a head no further than it may be long."""
        while data and not self._is_deaf:
            piece = data
            if self._reading is not _Reading.BODY:
                piece = data[: self._limits.max_head_bytes - self._head_bytes]
                self._head_bytes += len(piece)
            data = data[len(piece) :]
            self._feed(piece)
            if self._head_bytes >= self._limits.max_head_bytes and not self._is_deaf:
                limit = self._limits.max_head_bytes
                self._refuse(HeadTooLargeError(f"the head is larger than {limit} bytes"))
        if self._reading is _Reading.HEAD and self._timer is None:
            self._set_timer(self._limits.head_timeout_s, self._on_head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the request in progress: nobody waits for its answer."""
        super().connection_lost(exc)
        self._set_timer(None)
        self.resume_writing()
        running, self._running = self._running, None
        if running is not None and not running[0].response_complete:
            running[0].disconnected = True
            running[1].cancel(CLIENT_GONE)

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for good: nothing else would end it."""
        super().pause_writing()
        self._watch_stall()

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    # --- called by the parser ---------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request's first byte: only now the connection is no longer idle."""
        super().on_message_begin()
        self._reading = _Reading.HEAD
        self._unset_keepalive_if_required()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those that trail a body are dropped, unbounded as they are."""
        if self._reading is _Reading.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: its deadline and its limit are off."""
        if self.parser.should_upgrade():
            self._is_upgrade = True
            return
        super().on_headers_complete()
        self._reading = _Reading.BODY
        self._head_bytes = 0
        self._set_timer(None)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._is_upgrade:
            return
        super().on_message_complete()
        self._reading = _Reading.NOTHING
        if not self.pipeline:  # a long body stopped the reading, and who does not read sees no end
            self.flow.resume_reading()

    # --- called by uvicorn ------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        self._running = (cycle, task)

    def on_response_complete(self) -> None:
        """See that the answer leaves, and that an unread rest of the request does not stay."""
        self._running = None
        self._limits = self._current()
        self.timeout_keep_alive = self._limits.keep_alive_s  # type: ignore[assignment]  # int by its default only
        super().on_response_complete()
        if self._reading is _Reading.BODY and self.cycle.response_complete:
            self.transport.close()
        unsent = self.transport.get_write_buffer_size()
        if unsent > _FEW_BYTES and self._unread_bytes() > self._limits.max_in_flight_bytes:
            self.transport.abort()  # clients that do not read hold as much as may be held
        elif unsent:
            self._set_timer(self._limits.keep_alive_s, self._on_flush_timeout, unsent)

    # --- own --------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(BadRequestError("this is not a valid HTTP request"))

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read the request as if it had not asked to switch protocols.

        Java's HTTP client asks for HTTP/2 with each first request, and the parser skips the body
        of whatever asks: without this such a POST would arrive empty.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            self._refuse(BadRequestError("this server is no proxy"))
            return
        head = [b"%b %b HTTP/%b" % (method, self.url, version.encode())]
        for name, value in self.headers:
            if name == b"connection":
                kept = [w for w in value.split(b",") if w.strip().lower() in _CONNECTION_WORDS]
                head.append(b"connection: " + b",".join(kept))
            elif name != b"upgrade":
                head.append(b"%b: %b" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self._is_upgrade = False
        self._feed(b"\r\n".join(head) + b"\r\n\r\n")
        self._feed(rest)

    def _refuse(self, error: RerankServerError) -> None:
        """Answer for a request that never reaches the application, and hang up."""
        self._is_deaf = True
        cycle = self._running[0] if self._running is not None else None
        if cycle is not None and not (self._reading is _Reading.BODY and cycle is self.cycle):
            cycle.keep_alive = False  # an earlier request is still being answered
            self.pipeline.clear()
            return
        if cycle is not None:
            cycle.disconnected = True
            cycle.waiting_for_100_continue = False
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        self.transport.write(_raw(error))
        self.transport.write_eof()
        self._set_timer(_LINGER_S, self.transport.abort)

    def _unread_bytes(self) -> int:
        """Return how much of this process's answers waits for clients to read it."""
        others = (c.transport for c in self.connections if isinstance(c, GatewayProtocol))
        return sum(transport.get_write_buffer_size() for transport in others)

    def _on_head_timeout(self) -> None:
        self._timer = None
        if self._head_bytes == 0:
            self.transport.close()
            return
        timeout_s = self._limits.head_timeout_s
        self._refuse(RequestTimeoutError(f"the head did not arrive within {timeout_s:g} s"))

    def _on_flush_timeout(self, before: int) -> None:
        self._timer = None
        unsent = self.transport.get_write_buffer_size()
        if unsent >= before:
            self.transport.abort()  # the client does not read
        elif unsent:
            self._set_timer(self._limits.keep_alive_s, self._on_flush_timeout, unsent)

    def _watch_stall(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(self._limits.keep_alive_s, self._on_stall, unsent)

    def _on_stall(self, before: int) -> None:
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._watch_stall()

    def _set_timer(
        self, delay_s: float | None, then: Callable[..., None] | None = None, *args: object
    ) -> None:
        """Replace the timer; there is one, for whatever the connection waits for next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay_s is not None and then is not None:
            self._timer = self.loop.call_later(delay_s, then, *args)


def _raw(error: RerankServerError) -> bytes:
    request_id = RequestIds().of(None)
    rendered = NATIVE.render_error(error, request_id)
    retry = "" if error.retry_after_s is None else f"retry-after: {error.retry_after_s}\r\n"
    head = (
        f"HTTP/1.1 {rendered.status} {HTTPStatus(rendered.status).phrase}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(rendered.body)}\r\n"
        f"x-request-id: {request_id}\r\n{retry}connection: close\r\n\r\n"
    )
    return head.encode("ascii") + rendered.body
