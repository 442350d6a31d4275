"""A request on its way to a worker and back, over real Unix sockets."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from rerank_server.core.routing import FallbackReason
from rerank_server.errors import DeadlineError
from rerank_server.gateway.connection import Answer
from rerank_server.gateway.upstream import Refused
from tests.gateway.harness import Run
from tests.gateway.link import LOST, PAYLOAD, Link, errand


def test_a_request_carries_its_id_and_remaining_time_and_reuses_the_connection(
    short_dir: Path, run: Run
) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            first = link.send()
            peer = await link.worker.accept()
            request = await peer.request()
            await peer.scores(1.0)
            answer = await first
            second = link.send(errand(is_alone=True))
            alone = await peer.request()
            await peer.scores(2.0)

            assert isinstance(answer, Answer)
            assert answer.status == 200
            assert b'"raw":[1.0]' in answer.body
            assert request.line == "POST /score HTTP/1.1"
            assert request.body == PAYLOAD
            assert request.headers["x-request-id"] == "id-1"
            assert 9000 < int(request.headers["x-rerank-deadline-ms"]) <= 10_000
            assert "x-rerank-alone" not in request.headers
            assert alone.headers["x-rerank-alone"] == "1"
            assert isinstance(await second, Answer)

    run(scenario())


def test_requests_at_once_take_connections_of_their_own(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            tasks = [link.send() for _ in range(3)]
            peers = [await link.worker.accept() for _ in tasks]
            for peer in reversed(peers):
                await peer.request()
                await peer.scores(1.0)

            assert all(isinstance(outcome, Answer) for outcome in await asyncio.gather(*tasks))

    run(scenario())


def test_after_a_burst_only_so_many_connections_stay(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            tasks = [link.send() for _ in range(65)]
            peers = [await link.worker.accept() for _ in tasks]
            for peer in peers:
                await peer.request()
                await peer.scores(1.0)
            await asyncio.gather(*tasks)

            ends = [asyncio.ensure_future(peer.end()) for peer in peers]
            done, rest = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            assert len(done) == 1
            for end in rest:
                end.cancel()

    run(scenario())


def test_a_connection_the_worker_wants_closed_is_not_used_again(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            first = link.send()
            peer = await link.worker.accept()
            await peer.request()
            await peer.answer(429, {"code": "queue_full"}, "connection: close", "Retry-After: 3")
            answer = await first
            second = link.send()
            other = await link.worker.accept()
            await other.request()
            await other.scores(1.0)

            assert isinstance(answer, Answer)
            assert (answer.status, answer.retry_after) == (429, "3")
            assert isinstance(await second, Answer)

    run(scenario())


def test_a_worker_that_is_gone_refuses(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            link.worker.die()
            refused = await link.send()
            os.unlink(link.target.socket)  # noqa: PTH108  # as the worker's own last act

            assert refused == LOST
            assert await link.send() == LOST

    run(scenario())


def test_a_full_backlog_refuses_as_hung(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir, backlog=0) as link:
            waiting = link.send()
            await asyncio.sleep(0)
            refused = await link.send()

            assert refused == Refused(FallbackReason.HUNG)
            waiting.cancel()

    run(scenario())


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (503, "draining", Refused(FallbackReason.DRAINING)),
        (503, "other", None),
        (429, "draining", None),
    ],
)
def test_a_draining_worker_refuses(
    short_dir: Path,
    run: Run,
    status: int,
    code: str,
    expected: Refused | None,
) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            sent = link.send()
            peer = await link.worker.accept()
            await peer.request()
            await peer.answer(status, {"code": code, "message": ""}, "connection: close")

            outcome = await sent
            assert outcome == expected or (expected is None and isinstance(outcome, Answer))

    run(scenario())


def test_a_503_without_json_is_passed_on(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            sent = link.send()
            peer = await link.worker.accept()
            await peer.request()
            await peer.send(b"HTTP/1.1 503 X\r\ncontent-length: 2\r\n\r\nno")

            assert await sent == Answer(503, b"no", None)

    run(scenario())


def test_an_answer_to_a_request_not_yet_sent_whole_ends_the_connection(
    short_dir: Path, run: Run
) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            sent = link.send(errand(b"x" * 8_000_000))
            peer = await link.worker.accept()
            await peer.beginning()
            await peer.answer(400, {"code": "invalid_request", "message": "too long"})

            outcome = await sent
            assert isinstance(outcome, Answer)
            assert outcome.status == 400
            await peer.end()

    run(scenario())


def test_the_deadline_hangs_up_on_the_worker(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            sent = link.send(errand(timeout_s=0.05))
            peer = await link.worker.accept()
            await peer.request()

            with pytest.raises(DeadlineError):
                await sent
            await peer.end()

    run(scenario())


def test_a_deadline_that_passed_sends_nothing(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            with pytest.raises(DeadlineError):
                await link.send(errand(timeout_s=-1.0))

            peer = await link.worker.accept()
            await peer.end()

    run(scenario())


def test_cancelling_hangs_up_on_the_worker(short_dir: Path, run: Run) -> None:
    async def scenario() -> None:
        with Link(short_dir) as link:
            sent = link.send()
            peer = await link.worker.accept()
            await peer.request()
            sent.cancel()

            with pytest.raises(asyncio.CancelledError):
                await sent
            await peer.end()

    run(scenario())
