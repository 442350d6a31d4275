"""Copies beside requests, in a gateway of real processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rerank_server.gateway.mirror import MAX_HELD_BYTES
from tests.gateway.harness import series
from tests.gateway.mirrored import mirrored
from tests.gateway.process import PATIENCE_S, Fleet, pss_bytes, wait_gone
from tests.gateway.worker import Worker


@pytest.fixture
def fleet(short_dir: Path) -> Iterator[Fleet]:
    """Return a run dir with a mirror, and nothing started."""
    with Fleet(short_dir) as fleet:
        fleet.publish(mirrored(str(short_dir)))
        yield fleet


class Two:
    """The sockets of both versions; the test plays the workers."""

    def __init__(self, fleet: Fleet) -> None:
        self.first = Worker(fleet.run_dir / "v1.1.sock")
        self.second = Worker(fleet.run_dir / "v2.1.sock")
        self._fleet = fleet

    def ask(self, pool: ThreadPoolExecutor, runner: asyncio.Runner, docs: list[str]) -> int:
        """Post a request, answer it as the first version's worker, and return its status."""
        answer = pool.submit(self._fleet.post, {"query": "q", "docs": docs})
        peer = runner.run(self.first.accept())
        runner.run(peer.request())
        runner.run(peer.scores(*[0.1] * len(docs)))
        status = answer.result(PATIENCE_S).status_code
        peer.close()
        return status

    def close(self) -> None:
        self.first.die()
        self.second.die()


@pytest.fixture
def two(fleet: Fleet) -> Iterator[Two]:
    """Return both versions' sockets."""
    two = Two(fleet)
    yield two
    two.close()


@pytest.mark.process
def test_a_gateway_that_ends_waits_for_no_copy(fleet: Fleet, two: Two) -> None:
    gateway = fleet.start()
    pid = gateway.ready()
    with ThreadPoolExecutor(1) as pool, asyncio.Runner() as runner:
        assert two.ask(pool, runner, ["aa", "b"]) == 200
        copy = runner.run(two.second.accept())
        runner.run(copy.request())
        assert two.ask(pool, runner, ["aa", "b"]) == 200  # and its copy waits

        gateway.process.send_signal(signal.SIGTERM)

        assert gateway.process.wait(5.0) == 0
        runner.run(copy.end())
    wait_gone(pid)
    assert "Traceback" not in fleet.log()
    assert "never retrieved" not in fleet.log()


@pytest.mark.process
def test_the_memory_for_copies_is_bounded(fleet: Fleet, two: Two) -> None:
    gateway = fleet.start()
    pid = gateway.ready()
    large = ["d" * 50_000] * 20
    with ThreadPoolExecutor(1) as pool, asyncio.Runner() as runner:
        two.ask(pool, runner, large)
        runner.run(runner.run(two.second.accept()).request())  # and never answers
        for _ in range(15):  # the copies' room is full, the allocator has its own
            assert two.ask(pool, runner, large) == 200
        before = pss_bytes([pid])

        for _ in range(30):
            assert two.ask(pool, runner, large) == 200

        assert pss_bytes([pid]) - before < MAX_HELD_BYTES  # 30 MB of texts came
    said = series(fleet.get("/metrics").text)
    assert said['reranker_mirror_requests_total{result="shed",to="v2",version="v1"}'] == 38
