"""One HTTP/1.1 connection to a worker: writes a request, collects the answer, says how it ended."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import cast

import httptools

from rerank_server.errors import DeadlineError

_JOINED_BYTES = 1 << 16  # below it, one write of a copy is cheaper than a vectored write
_UNREAD_ERRORS = frozenset((errno.ECONNRESET, errno.EPIPE, errno.EINVAL, errno.ENOTCONN))


@dataclass(frozen=True, slots=True)
class Answer:
    """The worker's whole answer."""

    status: int
    body: bytes
    retry_after: str | None


class Ending(Enum):
    """How a connection died without an answer."""

    UNREAD = "unread"
    """The worker closed it before it had read the whole request: nothing was executed."""
    DIED = "died"
    """The worker had read the request: it may have executed it."""


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time.

    Linux says exactly whether the peer of a Unix socket had read what was sent: when it closes
    (or dies) with unread bytes in its queue, the other end gets ECONNRESET; when it had read
    them all, a plain end of file; and a write after the close gets EPIPE (unix(7), and
    `unix_release_sock` in net/unix/af_unix.c). So a kept-alive connection that the worker closed
    while the request was on its way needs no guess.
    """

    def __init__(self, on_closed: Callable[[Connection], None]) -> None:
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._ending: Ending | None = None
        self._parts: list[bytes] = []
        self._retry_after: str | None = None
        self._has_answer_begun = False
        self._is_unsent = False
        self.is_reusable = True
        """Whether another request may follow."""

    async def exchange(self, head: bytes, payload: bytes, timeout_s: float) -> Answer | Ending:
        """Send one request and return its answer, or how the connection ended without one.

        Cancelling, or the deadline, hangs up: the worker drops the work. Afterwards
        `is_reusable` tells whether the connection may carry another request.

        Raises:
            DeadlineError: no whole answer within `timeout_s`.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return Ending.UNREAD
        self.is_reusable = False
        self._parts.clear()
        self._retry_after = None
        self._has_answer_begun = False
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        self._waiter = waiter
        timer = self._loop.call_later(timeout_s, self._expire)
        if len(payload) < _JOINED_BYTES:
            transport.write(head + payload)
        else:
            transport.writelines((head, payload))
        try:
            return await waiter
        except ConnectionError:
            return self._ending or Ending.DIED
        finally:
            timer.cancel()
            self._waiter = None
            if not self.is_reusable:
                transport.abort()

    def close(self) -> None:
        """Hang up. Idempotent."""
        self.is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    # --- called by the event loop -----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer."""
        if self._waiter is None:
            self.close()  # nobody asked: this connection is out of step
            return
        self._has_answer_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(Ending.DIED)

    def eof_received(self) -> None:
        """Note, while it can still be seen, whether part of the request was never sent."""
        self.is_reusable = False
        if self._transport is not None:
            self._is_unsent = self._transport.get_write_buffer_size() > 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the waiting request how it ended."""
        self.is_reusable = False
        is_unread = self._is_unsent or (isinstance(exc, OSError) and exc.errno in _UNREAD_ERRORS)
        self._end(Ending.UNREAD if is_unread and not self._has_answer_begun else Ending.DIED)
        self._on_closed(self)

    # --- called by the parser ---------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the one header that is passed on."""
        if len(name) == len(b"retry-after") and name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Hand over the answer."""
        assert self._transport is not None
        if self._waiter is None or self._waiter.done():
            return
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        is_sent = not self._transport.get_write_buffer_size()
        self.is_reusable = is_sent and self._parser.should_keep_alive()
        self._waiter.set_result(Answer(self._parser.get_status_code(), body, self._retry_after))

    def _end(self, ending: Ending) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._ending = ending
            self._waiter.set_exception(ConnectionResetError())

    def _expire(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(DeadlineError())
