"""A worker that closes or dies: whether it had read the request decides what becomes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rerank_server.gateway.connection import Answer
from rerank_server.gateway.upstream import Lost
from tests.gateway.harness import Run
from tests.gateway.link import LOST, PAYLOAD, Link, errand


def test_a_worker_that_closes_before_it_reads_refused(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            sent = link.send()
            peer = await link.worker.accept()
            peer.close()

            assert await sent == LOST

    run(scenario())


def test_a_worker_that_dies_with_the_connection_in_its_backlog_refused(
    short_dir: Path, run: Run
) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            sent = link.send()
            await asyncio.sleep(0)
            link.worker.die()

            assert await sent == LOST

    run(scenario())


def test_a_worker_that_closes_amid_a_long_request_refused(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            sent = link.send(errand(b"x" * 8_000_000))
            peer = await link.worker.accept()
            await peer.beginning()
            peer.close()

            assert await sent == LOST

    run(scenario())


def test_a_worker_that_dies_after_it_read_is_a_loss(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            sent = link.send()
            peer = await link.worker.accept()
            await peer.request()
            link.worker.die()

            assert await sent == Lost()

    run(scenario())


@pytest.mark.parametrize(
    "begun", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"]
)
def test_a_worker_that_dies_amid_its_answer_is_a_loss(
    short_dir: Path, run: Run, begun: bytes
) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            sent = link.send()
            peer = await link.worker.accept()
            await peer.request()
            await peer.send(begun)
            link.worker.die()

            assert await sent == Lost()

    run(scenario())


def test_an_answer_that_is_no_http_is_a_loss(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            sent = link.send()
            peer = await link.worker.accept()
            await peer.request()
            await peer.send(b"what?\r\n\r\n")

            assert await sent == Lost()
            await peer.end()

    run(scenario())


@pytest.mark.parametrize("closes_first", [True, False])
def test_a_kept_connection_that_the_worker_closed_unread_is_replaced(
    short_dir: Path, run: Run, *, closes_first: bool
) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            first = link.send()
            peer = await link.worker.accept()
            await peer.request()
            await peer.scores(1.0)
            await first

            if closes_first:
                peer.close()
            second = link.send()
            if not closes_first:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                peer.close()
            other = await link.worker.accept()
            request = await other.request()
            await other.scores(2.0)

            assert request.body == PAYLOAD
            assert isinstance(await second, Answer)

    run(scenario())


def test_a_kept_connection_that_died_after_the_worker_read_is_a_loss_and_not_sent_again(
    short_dir: Path, run: Run
) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            first = link.send()
            peer = await link.worker.accept()
            await peer.request()
            await peer.scores(1.0)
            await first

            second = link.send()
            await peer.request()
            peer.close()

            assert await second == Lost()

    run(scenario())


def test_a_kept_connection_that_talks_out_of_turn_is_dropped(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            first = link.send()
            peer = await link.worker.accept()
            await peer.request()
            await peer.scores(1.0)
            await first
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            await peer.end()

            second = link.send()
            other = await link.worker.accept()
            await other.request()
            await other.scores(1.0)
            assert isinstance(await second, Answer)

    run(scenario())
