"""The worker's front with an application that answers when told to, and clients of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from rerank_workers.exchange import Answer, Client, Request
from rerank_workers.front import Front, open_front

DEADLINE_S = 10.0
POST = b"POST /score HTTP/1.1\r\nhost: w\r\ncontent-length: 2\r\n\r\n{}"
GET = b"GET /now HTTP/1.1\r\nhost: w\r\n\r\n"


@dataclass
class Echo:
    """Answers `/now` at once and everything else when told to."""

    waiting: list[tuple[Client, Request]] = field(default_factory=list)
    gone: list[Client] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    def receive(self, client: Client, request: Request) -> None:
        if request.path == "/now":
            client.answer(Answer(200, b'"now"'))
        else:
            self.waiting.append((client, request))
        self._tell()

    def hung_up(self, client: Client) -> None:
        self.gone.append(client)
        self._tell()

    def refuse(self, status: int, message: str) -> Answer:
        return Answer(status, b'"refused"')

    def answer_all(self) -> None:
        """Answer all that waits, with its own body."""
        for client, request in self.waiting:
            client.answer(Answer(200, request.body, (("retry-after", "3"),)))
        self.waiting.clear()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until this holds; it is looked at with each event."""
        async with asyncio.timeout(DEADLINE_S), self.news:
            await self.news.wait_for(holds)

    def _tell(self) -> None:
        async def notify() -> None:
            async with self.news:
                self.news.notify_all()

        self._task = asyncio.get_running_loop().create_task(notify())


@dataclass
class Wire:
    """One client connection."""

    channel: socket.socket

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.channel, data)

    async def receive(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await asyncio.get_running_loop().sock_recv(self.channel, 1 << 20)

    async def receive_all(self) -> bytes:
        """Return what comes until the other end closes."""
        parts = []
        while part := await self.receive():
            parts.append(part)
        return b"".join(parts)


@dataclass
class Stage:
    """A front with an application, and connections to it."""

    front: Front
    echo: Echo
    path: Path
    wires: list[Wire] = field(default_factory=list)

    async def connect(self) -> Wire:
        """Return a new connection."""
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        channel.setblocking(False)
        await asyncio.get_running_loop().sock_connect(channel, str(self.path))
        self.wires.append(Wire(channel))
        return self.wires[-1]


def play(directory: Path, scene: Callable[[Stage], Awaitable[None]]) -> None:
    """Run a scene on a front in `directory`, and leave nothing open behind it."""

    async def run() -> None:
        path = directory / "w.sock"
        echo = Echo()
        stage = Stage(await open_front(path, echo), echo, path)
        try:
            await scene(stage)
        finally:
            for wire in stage.wires:
                wire.channel.close()
            await stage.front.close(DEADLINE_S)
        assert not path.exists()

    asyncio.run(run())
