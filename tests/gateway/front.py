"""The gateway's protocol on a real TCP socket, in the test's own event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Self

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from rerank_server.core.limits import Limits
from rerank_server.gateway.protocol import GatewayProtocol

PATIENCE_S = 10.0
BODY = b'{"query":"q","docs":["aa","b"]}'
POST = b"POST /rerank HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
GET = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"


Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


class Client:
    """A TCP client that sends and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, content: bytes) -> None:
        """Send raw bytes."""
        self._writer.write(content)
        async with asyncio.timeout(PATIENCE_S):
            await self._writer.drain()

    async def answer(self) -> Answer:
        """Read one answer: status, headers, body."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self._reader.readuntil(b"\r\n\r\n")
            line, *rest = head.decode().rstrip().split("\r\n")
            headers = dict(each.lower().split(": ", 1) for each in rest)
            body = await self._reader.readexactly(int(headers["content-length"]))
        return int(line.split()[1]), headers, body

    async def line(self) -> bytes:
        """Read one line."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readline()

    async def rest(self) -> bytes:
        """Read until the server closes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    def abort(self) -> None:
        """Hang up at once, with a reset."""
        self._writer.transport.abort()


class _Observed(GatewayProtocol):
    """Tells when its connection is lost."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        app_state: dict[str, object],
        loop: asyncio.AbstractEventLoop,
        *,
        limits: Callable[[], Limits],
        lost: asyncio.Event,
    ) -> None:
        super().__init__(config, state, app_state, loop, limits=limits)
        self._lost = lost

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lost.set()


class Front:
    """A server for one application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_head_bytes: int = 1024,
        head_timeout_s: float = PATIENCE_S,
        max_connections: int = 100,
        keep_alive_s: float = PATIENCE_S,
    ) -> None:
        self._config = Config(
            app, lifespan="off", ws="none", interface="asgi3", log_config=None, access_log=False,
            proxy_headers=False, server_header=False,
        )  # fmt: skip
        self._config.load()
        self.limits = Limits(
            max_head_bytes=max_head_bytes,
            head_timeout_s=head_timeout_s,
            max_connections=max_connections,
            keep_alive_s=keep_alive_s,
        )
        """Those in force; a test may put others in their place."""
        self.state = ServerState()
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        """Return a new client."""
        return await self._connect(1 << 26)

    async def connect_unread(self) -> Client:
        """Return a client that reads next to nothing unless asked to."""
        return await self._connect(1)

    async def _connect(self, read_ahead: int) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=read_ahead)
        client = Client(reader, writer)
        self._clients.append(client)
        return client

    def receive(self, content: bytes) -> None:
        """Let the one connection there is receive all this in one piece."""
        (connection,) = self.state.connections
        assert isinstance(connection, GatewayProtocol)
        connection.data_received(content)

    async def until_connections(self, at_most: int) -> None:
        """Wait until no more connections than that are left."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.state.connections) > at_most:
                self._lost.clear()
                await self._lost.wait()

    async def idle(self) -> None:
        """Wait until no connection and no request is left."""
        await self.until_connections(at_most=0)
        if self.state.tasks:
            await asyncio.wait(self.state.tasks, timeout=PATIENCE_S)
        assert not self.state.tasks

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._lost = asyncio.Event()
        self._server = await loop.create_server(
            lambda: _Observed(
                self._config, self.state, {}, loop, limits=lambda: self.limits, lost=self._lost
            ),
            "127.0.0.1",
            0,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        self._server.close()
        await self._server.wait_closed()
        await self.idle()


def code_of(answer: Answer) -> tuple[int, str]:
    """Return status and code of an error answer in the server's own shape."""
    status, headers, body = answer
    shape = json.loads(body)
    assert shape["request_id"] == headers["x-request-id"]
    return status, shape["error"]["code"]


async def closed_after(client: Client) -> Answer:
    """Read an answer that says the connection closes, and see that it does."""
    answer = await client.answer()
    assert answer[1]["connection"] == "close"
    assert await client.rest() == b""
    return answer
