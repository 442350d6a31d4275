"""How the worker's front takes requests, and which it refuses."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from rerank_workers.front import LONGEST_BODY_BYTES, LONGEST_HEAD_BYTES, open_front
from tests.workers.stage import GET, POST, Echo, Stage, play


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
