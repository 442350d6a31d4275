"""Bodies: chunked, stalled, too long, broken, announced, behind an upgrade."""

from __future__ import annotations

import logging

import pytest

from tests.gateway.fakes import LIMITS, route, table
from tests.gateway.front import BODY, GET, POST, Front, closed_after, code_of
from tests.gateway.harness import Gateway, Run


def test_a_chunked_body_is_read_and_its_trailers_dropped(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(
                b"POST /rerank HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
                b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n" % (10, BODY[:10], len(BODY) - 10, BODY[10:])
            )
            await client.send(b"x-rerank-version: v9\r\n" * 5000 + b"\r\n")
            status, headers, _ = await client.answer()
            assert status == 200
            assert "x-rerank-fallback" not in headers

    run(scenario())


@pytest.mark.parametrize("more", [b"", b"expect: 100-continue\r\n"])
def test_a_broken_chunk_ends_the_request_with_400(
    gateway: Gateway, run: Run, caplog: pytest.LogCaptureFixture, more: bytes
) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(
                b"POST /rerank HTTP/1.1\r\nhost: x\r\n%btransfer-encoding: chunked\r\n\r\nzz\r\n"
                % more
            )
            assert code_of(await closed_after(client)) == (400, "invalid_request")

    with caplog.at_level(logging.INFO):
        run(scenario())
    assert not caplog.records


def test_garbage_behind_a_request_does_not_spoil_its_answer(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(POST + b"\x00garbage\r\n\r\n")
            status, _, body = await closed_after(client)
            assert status == 200
            assert b"scores" in body

    run(scenario())


@pytest.mark.parametrize("piece", [1, 7, 60, 10_000])
@pytest.mark.parametrize("more", ["", ", close"])
def test_an_upgrade_is_declined_and_the_request_served_with_its_body(
    gateway: Gateway, run: Run, piece: int, more: str
) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            asks = (
                f"connection: Upgrade, HTTP2-Settings{more}\r\nupgrade: h2c\r\n"
                "http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
            ).encode()
            sent = POST.replace(b"host: x\r\n", b"host: x\r\n" + asks)
            for start in range(0, len(sent), piece):
                await client.send(sent[start : start + piece])
            status, headers, body = await client.answer()
            assert status == 200
            assert b"scores" in body
            assert headers.get("connection") == ("close" if more else None)
            if not more:
                await client.send(GET)
                assert (await client.answer())[0] == 200

    run(scenario())


def test_a_body_that_stalls_is_refused_at_its_deadline(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        limits = type(LIMITS)(5.0, 10_000, 100, body_timeout_s=0.05, keep_alive_s=5.0)
        gateway.show(table(route("v1", "v1.1"), limits=limits))
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(POST[:-5])
            assert code_of(await client.answer()) == (408, "request_timeout")
            await client.send(POST[-5:])  # the rest is dropped, the connection goes on
            await client.send(GET)
            assert (await client.answer())[0] == 200

    run(scenario())


@pytest.mark.parametrize("more", [b"", b"connection: close\r\n"])
def test_a_body_too_long_is_refused_at_once_and_its_sender_can_read_that(
    gateway: Gateway, run: Run, more: bytes
) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(
                b"POST /rerank HTTP/1.1\r\nhost: x\r\n%bcontent-length: 20000000\r\n\r\n" % more
            )
            assert code_of(await client.answer()) == (413, "too_large")
            await client.send(b"x" * 20_000_000)
            if more:
                assert await client.rest() == b""
            else:
                await client.send(GET)
                assert (await client.answer())[0] == 200

    run(scenario())


def test_who_asks_before_sending_is_told_to_go_on(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            head, _, body = POST.partition(b"\r\n\r\n")
            await client.send(head + b"\r\nexpect: 100-continue\r\n\r\n")
            assert await client.line() == b"HTTP/1.1 100 Continue\r\n"
            assert await client.line() == b"\r\n"
            await client.send(body)
            assert (await client.answer())[0] == 200

    run(scenario())


def test_who_asks_before_sending_too_much_is_refused_without_it(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(
                b"POST /rerank HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
                b"content-length: 20000000\r\n\r\n"
            )
            assert code_of(await closed_after(client)) == (413, "too_large")

    run(scenario())


@pytest.mark.parametrize("path", [b"/nothing", b"/rerank"])
def test_a_client_that_reads_its_error_and_goes_is_dropped_quietly(
    gateway: Gateway, run: Run, caplog: pytest.LogCaptureFixture, path: bytes
) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(
                b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\nabc" % path
            )
            assert (await client.answer())[0] in (404, 413)
            client.close()
            await front.idle()

    with caplog.at_level(logging.INFO):
        run(scenario())
    assert not caplog.records
