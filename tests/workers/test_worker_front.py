from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rerank_workers.exchange import Answer, Client, Request
from rerank_workers.front import (
    LONGEST_BODY_BYTES,
    LONGEST_HEAD_BYTES,
    Front,
    open_front,
)

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
        for client, request in self.waiting:
            client.answer(Answer(200, request.body, (("retry-after", "3"),)))
        self.waiting.clear()

    async def until(self, holds: Callable[[], bool]) -> None:
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


def test_a_connection_serves_one_request_after_another(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        for _ in range(3):
            await wire.send(GET)
            assert await wire.receive() == (
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b'content-length: 5\r\n\r\n"now"'
            )

    play(short_dir, scene)


def test_a_request_may_come_in_pieces(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        for byte in POST:
            await wire.send(bytes([byte]))
            await asyncio.sleep(0)
        await stage.echo.until(lambda: bool(stage.echo.waiting))
        stage.echo.answer_all()
        assert (await wire.receive()).endswith(b"retry-after: 3\r\n\r\n{}")

    play(short_dir, scene)


def test_header_names_are_lower_case_and_the_query_is_no_part_of_the_path(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(b"POST /score?x=1 HTTP/1.1\r\nX-Rerank-Alone: 1\r\n\r\n")
        await stage.echo.until(lambda: bool(stage.echo.waiting))
        request = stage.echo.waiting[0][1]
        assert (request.method, request.path) == ("POST", "/score")
        assert request.headers[b"x-rerank-alone"] == b"1"
        assert request.body == b""

    play(short_dir, scene)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: -3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (LONGEST_BODY_BYTES + 1), 413),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * LONGEST_HEAD_BYTES, 431),
    ],
)
def test_what_this_front_does_not_take_is_refused_and_the_connection_closed(
    short_dir: Path, sent: bytes, status: int
) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(sent)
        answer = await wire.receive_all()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in answer
        assert stage.echo.waiting == []

    play(short_dir, scene)


def test_a_client_may_ask_to_close(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(b"GET /now HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert b"connection: close" in await wire.receive_all()

    play(short_dir, scene)


@pytest.mark.parametrize("second", [POST, GET, b"nonsense"])
@pytest.mark.parametrize("together", [True, False])
def test_a_second_request_before_the_answer_is_never_begun(
    short_dir: Path, second: bytes, together: bool
) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        if together and second != b"nonsense":
            await wire.send(POST + second)
        else:
            await wire.send(POST)
            await stage.echo.until(lambda: bool(stage.echo.waiting))
            await wire.send(second)
        await stage.echo.until(lambda: bool(stage.echo.waiting))
        # A round trip elsewhere: what was sent before it has been read.
        other = await stage.connect()
        await other.send(GET)
        await other.receive()
        assert len(stage.echo.waiting) == 1
        stage.echo.answer_all()
        answer = await wire.receive_all()
        assert answer.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in answer

    play(short_dir, scene)


def test_a_client_that_leaves_before_its_answer_is_told_of(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(POST)
        await stage.echo.until(lambda: bool(stage.echo.waiting))
        wire.channel.close()
        await stage.echo.until(lambda: bool(stage.echo.gone))
        assert stage.echo.gone == [stage.echo.waiting[0][0]]
        stage.echo.answer_all()

    play(short_dir, scene)


def test_a_client_that_leaves_after_its_answer_is_no_news(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(GET)
        await wire.receive()
        wire.channel.close()
        other = await stage.connect()
        await other.send(GET)
        await other.receive()
        assert stage.echo.gone == []

    play(short_dir, scene)


def test_an_idle_connection_is_let_go(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(GET)
        await wire.receive()
        stage.front.release()
        assert await wire.receive() == b""

    play(short_dir, scene)


def test_a_request_on_its_way_while_its_connection_is_let_go_is_answered(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(GET)
        await wire.receive()
        wire.channel.send(GET)
        stage.front.release()
        with pytest.raises(BrokenPipeError):
            wire.channel.send(GET)
        answer = await wire.receive_all()
        assert answer.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in answer

    play(short_dir, scene)


def test_a_busy_connection_is_let_go_after_its_answer(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(POST)
        await stage.echo.until(lambda: bool(stage.echo.waiting))
        stage.front.release()
        stage.echo.answer_all()
        assert b"connection: close" in await wire.receive_all()

    play(short_dir, scene)


def test_a_new_connection_while_leaving_gets_one_answer(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.front.release()
        wire = await stage.connect()
        await wire.send(GET)
        assert b"connection: close" in await wire.receive_all()

    play(short_dir, scene)


def test_a_long_answer_leaves_whole_before_the_front_is_closed(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(POST)
        await stage.echo.until(lambda: bool(stage.echo.waiting))
        stage.front.release()
        stage.echo.waiting[0][0].answer(Answer(200, b"x" * (4 << 20)))
        closing = asyncio.create_task(stage.front.close(DEADLINE_S))
        answer = await wire.receive_all()
        await closing
        assert answer.endswith(b"\r\n\r\n" + b"x" * (4 << 20))

    play(short_dir, scene)


def test_a_client_that_does_not_read_cannot_hold_the_front(short_dir: Path) -> None:
    async def scene(stage: Stage) -> None:
        wire = await stage.connect()
        await wire.send(POST)
        await stage.echo.until(lambda: bool(stage.echo.waiting))
        stage.front.release()
        stage.echo.waiting[0][0].answer(Answer(200, b"x" * (4 << 20)))
        await stage.front.close(0.01)

    play(short_dir, scene)


def test_only_its_user_may_open_the_socket_and_a_stale_file_is_replaced(short_dir: Path) -> None:
    (short_dir / "w.sock").write_text("stale")

    async def scene(stage: Stage) -> None:
        mode = stage.path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600

    play(short_dir, scene)


def test_a_path_too_long_for_a_socket_is_an_error(short_dir: Path) -> None:
    async def run() -> None:
        await open_front(short_dir / ("x" * 120), Echo())

    with pytest.raises(OSError, match="too long"):
        asyncio.run(run())
