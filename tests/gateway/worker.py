"""A worker's socket of which the test decides every step."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """What the gateway sent."""

    line: str
    headers: Mapping[str, str]
    body: bytes


class Peer:
    """One accepted connection, read only when told to."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._unread = b""

    async def request(self) -> Request:
        """Read one whole request."""
        while b"\r\n\r\n" not in self._unread:
            await self._read()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        line, *rest = head.decode().split("\r\n")
        headers = dict(re.split(r":\s*", each, maxsplit=1) for each in rest)
        length = int(headers["content-length"])
        while len(self._unread) < length:
            await self._read()
        body, self._unread = self._unread[:length], self._unread[length:]
        return Request(line, headers, body)

    async def beginning(self) -> None:
        """Read some of a request."""
        await self._read()

    async def send(self, content: bytes) -> None:
        """Send raw bytes."""
        await self._loop.sock_sendall(self._sock, content)

    async def answer(self, status: int, body: object, *more: str) -> None:
        """Send a whole answer."""
        content = orjson.dumps(body)
        head = "\r\n".join([f"HTTP/1.1 {status} X", f"content-length: {len(content)}", *more])
        await self.send(head.encode() + b"\r\n\r\n" + content)

    async def scores(self, *raw: float) -> None:
        """Answer with these scores, raw and unit alike."""
        await self.answer(200, {"raw": raw, "unit": raw, "tokens": [1] * len(raw)})

    async def end(self) -> None:
        """Wait until the gateway hangs up."""
        async with asyncio.timeout(_PATIENCE_S):
            while await self._loop.sock_recv(self._sock, 1 << 16):
                pass

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    async def _read(self) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            part = await self._loop.sock_recv(self._sock, 1 << 20)
        if not part:
            raise ConnectionResetError
        self._unread += part


class Worker:
    """A listening Unix socket."""

    def __init__(self, path: Path, backlog: int = 100) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(backlog)
        self._listener.setblocking(False)
        self._peers: list[Peer] = []

    async def accept(self) -> Peer:
        """Take the next connection."""
        async with asyncio.timeout(_PATIENCE_S):
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        sock.setblocking(False)
        peer = Peer(sock)
        self._peers.append(peer)
        return peer

    def close(self) -> None:
        """Stop listening; connections stay."""
        self._listener.close()

    def die(self) -> None:
        """Close everything at once, as the kernel does for a killed process."""
        self._listener.close()
        for peer in self._peers:
            peer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.die()
