"""HTTP/1.1 on the worker's Unix socket: whole requests in, whole answers out, one write each.

Its one client is the gateway: keep-alive, one request at a time per connection, bodies with a
Content-Length. Small on purpose, so that no version's pins can break it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from asyncio.trsock import TransportSocket
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools

from rerank_workers.exchange import Answer, Application, Request, render

LONGEST_HEAD_BYTES = 64 << 10
LONGEST_BODY_BYTES = 128 << 20
BACKLOG = 1024
"""Connections the kernel queues; past it the gateway gets EAGAIN and walks on."""


class Connection(asyncio.Protocol):
    """One connection of the gateway's: one request at a time."""

    def __init__(self, application: Application, peers: Peers) -> None:
        self._application = application
        self._peers = peers
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._head_bytes = 0
        self._is_in_head = False
        self._is_receiving = False
        self._is_busy = False
        self._is_deaf = False
        self._closes = False
        self._complete: Request | None = None
        self._refusal: tuple[int, str] | None = None

    # --- called by asyncio ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Join the open connections."""
        self._transport = cast(asyncio.Transport, transport)
        self._closes = self._peers.join(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave them; a client that waited for an answer has hung up."""
        self._transport = None
        self._peers.leave(self)
        if self._is_busy:
            self._is_busy = False
            self._application.hung_up(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came; hand over a request once it is whole."""
        if self._is_deaf:
            return
        self._feed(data)
        if self._refusal is not None:
            self._is_deaf = self._closes = True
            if not self._is_busy:
                self._is_busy = True
                self.answer(self._application.refuse(*self._refusal))
        elif self._complete is not None:
            request, self._complete = self._complete, None
            self._is_busy = True
            self._application.receive(self, request)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refusal = (400, "upgrades are not served")
        except httptools.HttpParserError as error:
            self._refusal = self._refusal or (400, f"not HTTP/1.1: {type(error).__name__}")
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > LONGEST_HEAD_BYTES:
                self._refusal = (431, "the request head is too large")

    # --- called by httptools --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start a request.

        A second one before the first is answered breaks the contract (no pipelining): the first
        is answered, then the connection ends, and the second was never begun.
        """
        if self._is_busy or self._complete is not None:
            self._is_deaf = self._closes = True
            return
        self._is_receiving = self._is_in_head = True
        self._head_bytes = 0
        self._url = b""
        self._headers = {}
        self._body = []

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        if not self._is_deaf:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Refuse a body this front does not take before it is sent."""
        self._is_in_head = False
        if b"transfer-encoding" in self._headers:
            self._refusal = (400, "send the body with a Content-Length")
        elif int(self._headers.get(b"content-length", b"0")) > LONGEST_BODY_BYTES:
            self._refusal = (413, f"the body is longer than {LONGEST_BODY_BYTES} bytes")

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        if not self._is_deaf:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Make the request whole."""
        if self._is_deaf:
            return
        self._is_receiving = False
        self._closes = self._closes or not self._parser.should_keep_alive()
        self._complete = Request(
            self._parser.get_method().decode("ascii"),
            self._url.partition(b"?")[0].decode("latin-1"),
            self._headers,
            b"".join(self._body),
        )
        self._body = []

    # --- called by the application and the front ------------------------------------------------

    def answer(self, answer: Answer) -> None:
        """Send the one answer this connection waits for."""
        if self._transport is None or not self._is_busy:
            return
        self._is_busy = False
        self._transport.write(render(answer, self._closes))
        if self._closes:
            self._is_deaf = True
            self._transport.close()

    def release(self) -> None:
        """End after the present request, or now if there is none, without losing one on its way.

        The read side is shut first: from then on the kernel refuses the peer's writes, so a
        request is either in our buffer, and is answered, or was never sent.
        """
        self._closes = True
        if self._transport is not None and not self._is_busy and not self._is_receiving:
            channel: TransportSocket = self._transport.get_extra_info("socket")
            channel.shutdown(socket.SHUT_RD)

    def abort(self) -> None:
        """End now."""
        if self._transport is not None:
            self._transport.abort()


class Peers:
    """The open connections of one front."""

    def __init__(self) -> None:
        self._connections: set[Connection] = set()
        self._is_leaving = False
        self._gone = asyncio.Event()
        self._gone.set()

    def join(self, connection: Connection) -> bool:
        """Count a connection in; return whether it must end after one answer."""
        self._connections.add(connection)
        self._gone.clear()
        return self._is_leaving

    def leave(self, connection: Connection) -> None:
        """Count a connection out."""
        self._connections.discard(connection)
        if not self._connections:
            self._gone.set()

    def release(self) -> None:
        """Let every connection end after its present answer, idle ones now, and all later ones."""
        self._is_leaving = True
        for connection in list(self._connections):
            connection.release()

    async def wait_gone(self, timeout_s: float) -> None:
        """Wait until every answer is with the kernel and its connection closed; then abort."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._gone.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()


@dataclass(frozen=True, slots=True)
class Front:
    """The listening socket and its connections."""

    path: Path
    server: asyncio.Server
    peers: Peers

    def release(self) -> None:
        """Let connections go as they become idle; new ones are taken for one answer each."""
        self.peers.release()

    async def close(self, timeout_s: float) -> None:
        """Stop listening, remove the socket file, and send what is still to be sent."""
        self.server.close()
        self._remove()
        self.peers.release()
        await self.peers.wait_gone(timeout_s)

    def _remove(self) -> None:
        self.path.unlink(missing_ok=True)


async def open_front(path: Path, application: Application) -> Front:
    """Listen on a Unix socket that only this user may open; a stale socket file is replaced."""
    listener = _bind(path)
    peers = Peers()
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(
        lambda: Connection(application, peers), sock=listener, backlog=BACKLOG
    )
    return Front(path, server, peers)


def _bind(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener
