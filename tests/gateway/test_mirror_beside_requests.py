"""Whatever becomes of copies, the requests beside them are answered as if there were none."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from rerank_server.core.routing import FallbackReason, Target
from rerank_server.gateway.mirror import MAX_WAITING
from rerank_server.gateway.upstream import Errand, Lost, Outcome, Refused, SocketUpstream
from tests.gateway.fakes import by_length, scores
from tests.gateway.front import POST, Client, Front
from tests.gateway.harness import Gateway, Run, series
from tests.gateway.mirrored import mirrored
from tests.gateway.process import PATIENCE_S
from tests.gateway.worker import Worker

BODY = {"query": "q", "docs": ["aa", "b"]}
MANY = 3 * MAX_WAITING


class Split:
    """The first version's worker answers; the second's behaves as told."""

    def __init__(self, outcome: Outcome | None) -> None:
        self._outcome = outcome
        self.copies = 0
        self.copied: list[str] = []
        self.has_copied = asyncio.Event()

    async def score(self, target: Target, errand: Errand) -> Outcome:
        if not errand.is_copy:
            return by_length(errand)
        self.copies += 1
        self.copied.append(errand.request_id)
        self.has_copied.set()
        if self._outcome is None:
            await asyncio.Event().wait()
        assert self._outcome is not None
        return self._outcome


async def ask(client: Client, count: int) -> list[int]:
    """Return the statuses of so many requests, one after the other."""
    statuses = []
    for _ in range(count):
        await client.send(POST)
        statuses.append((await client.answer())[0])
    return statuses


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        pytest.param(None, "shed", id="hangs"),
        pytest.param(Lost(), "failed", id="dies"),
        pytest.param(Refused(FallbackReason.LOST), "shed", id="refuses"),
        pytest.param(scores([0.0]), "failed", id="talks nonsense"),
    ],
)
def test_every_request_is_answered_whatever_the_mirror_does(
    gateway: Gateway, run: Run, outcome: Outcome | None, result: str
) -> None:
    gateway.show(mirrored())
    workers = Split(outcome)

    async def scenario() -> None:
        gateway.use(workers)
        async with Front(gateway.app) as front:
            assert await ask(await front.connect(), MANY) == [200] * MANY

    run(scenario())
    said = series(gateway.get("/metrics").text)
    assert said['reranker_requests_total{status="200",version="v1"}'] == MANY
    name = "reranker_mirror_requests_total"
    assert said[name + f'{{result="{result}",to="v2",version="v1"}}'] >= 1
    assert said[name + '{result="compared",to="v2",version="v1"}'] == 0
    assert workers.copies <= MANY


def test_a_mirror_that_hangs_is_asked_once_and_the_queue_behind_it_is_bounded(
    gateway: Gateway, run: Run
) -> None:
    gateway.show(mirrored())
    workers = Split(None)

    async def scenario() -> None:
        gateway.use(workers)
        async with Front(gateway.app) as front:
            await ask(await front.connect(), MANY)

    run(scenario())
    said = series(gateway.get("/metrics").text)
    shed = said['reranker_mirror_requests_total{result="shed",to="v2",version="v1"}']
    assert workers.copies == 1
    assert shed == MANY - MAX_WAITING - 1


def test_a_client_that_hung_up_is_not_copied(gateway: Gateway, run: Run, short_dir: Path) -> None:
    async def scenario() -> None:
        gateway.use(SocketUpstream())
        gateway.show(mirrored(str(short_dir)))
        with Worker(short_dir / "v1.1.sock") as worker, Worker(short_dir / "v2.1.sock") as other:
            async with Front(gateway.app) as front:
                client = await front.connect()
                await client.send(POST)
                peer = await worker.accept()
                await peer.request()
                client.abort()
                await peer.end()
                await front.idle()

                stays = await front.connect()  # what is copied first is this one's request
                await stays.send(POST.replace(b'"aa"', b'"bb"'))
                peer = await worker.accept()
                await peer.request()
                await peer.scores(0.2, 0.1)
                assert (await stays.answer())[0] == 200
                copied = await (await other.accept()).request()
                assert b'"bb"' in copied.body
                assert copied.headers["x-rerank-mirror"] == "1"

    run(scenario())


def test_the_metrics_are_there_by_pair_of_versions(gateway: Gateway, run: Run) -> None:
    gateway.show(mirrored())

    async def scenario() -> None:
        workers = Split(scores([1.0, 2.0], inference_ms=5.0))
        gateway.use(workers)
        async with Front(gateway.app) as front:
            await ask(await front.connect(), 2)

    run(scenario())
    said = series(gateway.get("/metrics").text)

    pair = 'to="v2",version="v1"'
    name = "reranker_mirror_requests_total"
    results = {
        result: said[f'{name}{{result="{result}",{pair}}}']
        for result in ("compared", "failed", "shed", "skipped")
    }
    assert results == {"compared": 2, "failed": 0, "shed": 0, "skipped": 0}
    assert said[f"reranker_mirror_pairs_total{{{pair}}}"] == 4
    assert said[f"reranker_mirror_top1_agreements_total{{{pair}}}"] == 0
    assert said[f"reranker_mirror_kendall_tau_sum{{{pair}}}"] == -2
    assert said[f"reranker_mirror_kendall_tau_count{{{pair}}}"] == 2
    assert said[f'reranker_mirror_kendall_tau_bucket{{le="-0.8",{pair}}}'] == 2
    assert said[f"reranker_mirror_overlap_ratio_sum{{{pair}}}"] == 2
    assert said[f"reranker_mirror_latency_ratio_sum{{{pair}}}"] == 4
    assert said[f'reranker_mirror_latency_ratio_bucket{{le="1.5",{pair}}}'] == 0
    assert said[f'reranker_mirror_latency_ratio_bucket{{le="2.0",{pair}}}'] == 2


def test_errors_and_requests_without_documents_are_not_compared(gateway: Gateway) -> None:
    gateway.show(mirrored())

    gateway.post(body={"query": 3, "docs": ["a", "b"]})
    gateway.post(body={"query": "q", "docs": []})
    gateway.post("/rerank/v2", body=BODY)

    said = series(gateway.get("/metrics").text)
    found = {key: value for key, value in said.items() if "mirror_requests" in key and value}
    assert found == {'reranker_mirror_requests_total{result="skipped",to="v2",version="v1"}': 1.0}
    assert not any(errand.is_copy for errand in gateway.workers.errands)


# --- as processes -----------------------------------------------------------------------------


def test_a_pipelined_request_after_a_copied_one_is_answered(gateway: Gateway, run: Run) -> None:
    gateway.show(mirrored())

    async def scenario() -> None:
        gateway.use(Split(None))
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(POST * 3)
            assert [(await client.answer())[0] for _ in range(3)] == [200] * 3

    run(scenario())


def test_a_request_that_asks_for_no_copy_is_not_copied(gateway: Gateway, run: Run) -> None:
    gateway.show(mirrored())
    workers = Split(scores([1.0, 2.0]))

    async def scenario() -> None:
        gateway.use(workers)
        async with Front(gateway.app) as front:
            client = await front.connect()
            for more in (b"x-request-id: mine\r\nx-rerank-mirror: never", b"x-request-id: other"):
                await client.send(POST.replace(b"host: x", b"host: x\r\n" + more))
                assert (await client.answer())[0] == 200
            async with asyncio.timeout(PATIENCE_S):
                await workers.has_copied.wait()

    run(scenario())

    assert workers.copied == ["other"]


def test_a_server_that_takes_one_request_at_a_time_copies_it(gateway: Gateway, run: Run) -> None:
    shown = mirrored()
    gateway.show(replace(shown, limits=replace(shown.limits, max_concurrent_requests=1)))

    async def scenario() -> None:
        workers = Split(scores([1.0, 2.0]))
        gateway.use(workers)
        async with Front(gateway.app) as front:
            assert await ask(await front.connect(), 1) == [200]
            async with asyncio.timeout(PATIENCE_S):
                await workers.has_copied.wait()

    run(scenario())


def test_a_strict_request_is_copied_too(gateway: Gateway, run: Run) -> None:
    gateway.show(mirrored())

    async def scenario() -> None:
        workers = Split(scores([1.0, 2.0]))
        gateway.use(workers)
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(POST.replace(b"host: x", b"host: x\r\nx-rerank-strict: 1"))
            assert (await client.answer())[0] == 200
            async with asyncio.timeout(PATIENCE_S):
                await workers.has_copied.wait()

    run(scenario())
