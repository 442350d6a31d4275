"""Connections, heads and what is no HTTP at all, over real TCP sockets."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from tests.gateway.front import GET, POST, Front, closed_after, code_of
from tests.gateway.harness import Gateway, Run


def test_requests_follow_each_other_on_one_connection(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            for _ in range(3):
                await client.send(POST)
                status, headers, body = await client.answer()
                assert status == 200
                assert "connection" not in headers
                assert json.loads(body)["scores"] == [0.2, 0.1]

    run(scenario())


def test_a_request_may_come_byte_by_byte(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            for byte in POST:
                await client.send(bytes([byte]))
            assert (await client.answer())[0] == 200

    run(scenario())


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(GET + POST + GET)
            bodies = [(await client.answer())[2] for _ in range(3)]
            assert bodies[0] == bodies[2] == b'{"status":"ok"}'
            assert b"scores" in bodies[1]

    run(scenario())


def test_a_silent_connection_is_closed_at_the_heads_deadline(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        async with Front(gateway.app, head_timeout_s=0.05) as front:
            client = await front.connect()
            assert await client.rest() == b""

    run(scenario())


@pytest.mark.parametrize("first", [b"", GET], ids=["first request", "second request"])
def test_half_a_head_is_refused_at_its_deadline(gateway: Gateway, run: Run, first: bytes) -> None:
    async def scenario() -> None:
        async with Front(gateway.app, head_timeout_s=0.05) as front:
            client = await front.connect()
            if first:
                await client.send(first)
                assert (await client.answer())[0] == 200
            await client.send(GET[:20])
            assert code_of(await closed_after(client)) == (408, "request_timeout")

    run(scenario())


def test_a_head_that_trickles_does_not_move_its_deadline(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        async with Front(gateway.app, head_timeout_s=0.1) as front:
            client = await front.connect()
            answer = asyncio.ensure_future(client.answer())
            while not answer.done():
                await client.send(b"G" if not answer.done() else b"")
                await asyncio.wait([answer], timeout=0.01)
            assert (await answer)[0] in (400, 408)

    run(scenario())


@pytest.mark.parametrize("empty_lines", [0, 3])
def test_an_idle_connection_is_closed_whatever_empty_lines_it_sends(
    gateway: Gateway, run: Run, empty_lines: int
) -> None:
    async def scenario() -> None:
        async with Front(gateway.app, keep_alive_s=0.05) as front:
            client = await front.connect()
            await client.send(GET)
            await client.answer()
            for _ in range(empty_lines):
                await client.send(b"\r\n")
            assert await client.rest() == b""

    run(scenario())


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nx: " + b"a" * 2000 + b"\r\n\r\n",
        b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 400 + b"\r\n",
        b"GET /health HTTP/1.1\r\nx: " + b"a" * 27_000_000,
        b"\r\n" * 2000,
    ],
    ids=["long header", "long path", "many headers", "endless header", "empty lines"],
)
@pytest.mark.parametrize("first", [b"", GET], ids=["first request", "second request"])
def test_a_head_over_the_limit_is_refused(
    gateway: Gateway, run: Run, head: bytes, first: bytes
) -> None:
    async def scenario() -> None:
        async with Front(gateway.app, max_head_bytes=1024) as front:
            client = await front.connect()
            if first:
                await client.send(first)
                await client.answer()
            sending = asyncio.ensure_future(client.send(head))
            answer = await client.answer()
            assert code_of(answer) == (431, "head_too_large")
            sending.cancel()

    run(scenario())


def test_a_long_body_right_behind_a_short_head_is_no_long_head(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        body = b'{"query":"q","docs":["%b"]}' % (b"a" * 5000)
        async with Front(gateway.app, max_head_bytes=256) as front:
            client = await front.connect()
            await client.send(
                b"POST /rerank HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            assert (await client.answer())[0] == 200

    run(scenario())


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /rerank HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST /rerank HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_one_400_and_is_not_logged(
    gateway: Gateway,
    run: Run,
    caplog: pytest.LogCaptureFixture,
    garbage: bytes,
) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(garbage)
            assert code_of(await closed_after(client)) == (400, "invalid_request")

    with caplog.at_level(logging.INFO):
        run(scenario())
    assert not caplog.records


def test_connections_over_the_cap_are_turned_away_and_room_is_used_again(
    gateway: Gateway, run: Run
) -> None:
    async def scenario() -> None:
        async with Front(gateway.app, max_connections=2) as front:
            clients = [await front.connect() for _ in range(2)]
            for client in clients:
                await client.send(GET)
                assert (await client.answer())[0] == 200
            third = await front.connect()
            await third.send(GET)
            answer = await closed_after(third)
            assert code_of(answer) == (503, "unavailable")
            assert int(answer[1]["retry-after"]) > 0

            clients[0].close()
            await front.until_connections(at_most=1)
            fourth = await front.connect()
            await fourth.send(GET)
            assert (await fourth.answer())[0] == 200

    run(scenario())
