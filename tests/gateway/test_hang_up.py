"""Clients that go away or do not read, and clients at once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from rerank_server.gateway.upstream import SocketUpstream
from tests.gateway.fakes import LIMITS, route, table
from tests.gateway.front import POST, Client, Front
from tests.gateway.harness import Gateway, Run, series
from tests.gateway.worker import Worker


@pytest.mark.parametrize("hang_up", [Client.close, Client.abort])
def test_a_client_that_hangs_up_frees_the_worker(
    gateway: Gateway,
    run: Run,
    short_dir: Path,
    caplog: pytest.LogCaptureFixture,
    hang_up: Callable[[Client], None],
) -> None:
    async def scenario() -> None:
        gateway.use(SocketUpstream())
        gateway.show(table(route("v1", "v1.1", sockets=str(short_dir))))
        with Worker(short_dir / "v1.1.sock") as worker:
            async with Front(gateway.app) as front:
                client = await front.connect()
                await client.send(POST)
                peer = await worker.accept()
                await peer.request()

                hang_up(client)
                await peer.end()
                await front.idle()

    with caplog.at_level(logging.INFO):
        run(scenario())
    said = series(gateway.get("/metrics").text)
    assert said['reranker_requests_total{status="499",version="v1"}'] == 1.0
    assert said["reranker_gateway_in_flight_requests"] == 0.0
    assert not [record for record in caplog.records if not record.name.startswith("httpx")]


@pytest.mark.parametrize("hang_up", [Client.close, Client.abort])
def test_a_hang_up_behind_a_long_body_is_noticed(
    gateway: Gateway, run: Run, short_dir: Path, hang_up: Callable[[Client], None]
) -> None:
    async def scenario() -> None:
        limits = type(LIMITS)(5.0, 50_000_000, 100, 5.0, 5.0)
        gateway.use(SocketUpstream())
        gateway.show(table(route("v1", "v1.1", sockets=str(short_dir)), limits=limits))
        body = b'{"query":"q","docs":["%b"]}' % (b"a" * 900_000)
        head = b"POST /rerank HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d"
        with Worker(short_dir / "v1.1.sock") as worker:
            async with Front(gateway.app) as front:
                client = await front.connect()
                await client.send(head % len(body) + b"\r\n\r\n")
                await client.line()  # from here on the application waits for the body
                front.receive(body)  # in one piece, as a fast network brings its end
                peer = await worker.accept()
                await peer.request()

                hang_up(client)
                await peer.end()
                await front.idle()

    run(scenario())


def test_a_client_that_hangs_up_amid_its_body_is_dropped_quietly(
    gateway: Gateway, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(POST[:-3])
            client.close()
            await front.idle()

    with caplog.at_level(logging.INFO):
        run(scenario())
    assert gateway.workers.visits == []
    assert not caplog.records


def test_a_client_that_does_not_read_its_answer_is_cut_off(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        limits = type(LIMITS)(5.0, 50_000_000, 100, 5.0, 5.0)
        gateway.show(table(route("v1", "v1.1"), limits=limits))
        body = b'{"query":"q","docs":["%b"],"return_docs":true}' % (b"a" * 30_000_000)
        async with Front(gateway.app, keep_alive_s=0.05) as front:
            client = await front.connect_unread()
            await client.send(
                b"POST /rerank HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b"
                % (len(body), body)
            )
            await front.idle()

    run(scenario())


def test_two_at_once_on_one_worker_each_get_their_own_answer(
    gateway: Gateway, run: Run, short_dir: Path
) -> None:
    async def scenario() -> None:
        gateway.use(SocketUpstream())
        gateway.show(table(route("v1", "v1.1", sockets=str(short_dir))))
        with Worker(short_dir / "v1.1.sock") as worker:
            async with Front(gateway.app) as front:
                clients = [await front.connect() for _ in range(2)]
                for client in clients:
                    await client.send(POST)
                peers = [await worker.accept() for _ in clients]
                for number, peer in enumerate(peers):
                    await peer.request()
                    await peer.scores(float(number), 0.5)
                bodies = [json.loads((await client.answer())[2]) for client in clients]
                assert sorted(body["scores"][0] for body in bodies) == [0.0, 1.0]

    run(scenario())
