"""What is over a limit is refused at once, in the request's dialect; nothing is held for good."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from rerank_server.core.limits import Limits, VersionLimits
from rerank_server.core.routing import Target
from rerank_server.gateway.upstream import Errand, Outcome
from tests.gateway.fakes import LIMITS, by_length, route, table
from tests.gateway.front import BODY, POST, Front, code_of
from tests.gateway.harness import JSON, Gateway, Run, series
from tests.gateway.link import LOST

REQUEST = {"query": "q", "docs": ["aa", "b"]}
ROOMY = VersionLimits()
HELD = ("reranker_gateway_in_flight_requests", "reranker_gateway_in_flight_bytes")


def limit(gateway: Gateway, limits: Limits = LIMITS, version: VersionLimits = ROOMY) -> None:
    """Publish these limits of the server, and of v1."""
    gateway.show(table(replace(route("v1", "v1.1"), limits=version), limits=limits))


def held(gateway: Gateway) -> list[float]:
    return [series(gateway.get("/metrics").text)[name] for name in HELD]


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ({"max_body_bytes": len(BODY) - 1}, 413),
        ({"max_docs": 1}, 413),
        ({"max_doc_chars": 1}, 413),
        ({"max_concurrent_requests": 0}, 429),
        ({"max_in_flight_bytes": len(BODY) - 1}, 429),
        ({}, 200),
        ({"max_body_bytes": 29, "max_docs": 2, "max_doc_chars": 2}, 413),
        ({"max_body_bytes": len(BODY), "max_docs": 2, "max_doc_chars": 2}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/rerank", "/rerank/v1"])
def test_a_version_s_own_limits_hold(
    gateway: Gateway, path: str, version: dict[str, int], status: int
) -> None:
    limit(gateway, version=VersionLimits(**version))

    answer = gateway.post(path, content=BODY)

    assert answer.status_code == status
    assert answer.headers.get("retry-after") == ("1" if status == 429 else None)
    assert held(gateway) == [0, 0]


@pytest.mark.parametrize(
    ("server", "status"),
    [
        ({"max_body_bytes": 29}, 413),
        ({"max_docs": 1}, 413),
        ({"max_doc_chars": 1}, 413),
        ({"max_concurrent_requests": 0}, 429),
        ({"max_in_flight_bytes": 29}, 429),
        ({"max_queued_pairs": 1}, 429),
        ({"max_queued_pairs": 2}, 200),
    ],
)
def test_the_server_s_limits_hold_for_every_version(
    gateway: Gateway, server: dict[str, int], status: int
) -> None:
    limit(gateway, replace(LIMITS, **server))

    assert gateway.post(content=BODY).status_code == status
    assert held(gateway) == [0, 0]


@pytest.mark.parametrize(
    ("body", "too_many", "overloaded"),
    [
        ({"query": "q", "docs": ["a", "b"]}, 413, 429),
        ({"query": "q", "texts": ["a", "b"]}, 422, 429),
        ({"query": "q", "documents": ["a", "b"]}, 400, 429),
    ],
    ids=["native", "tei", "superset"],
)
def test_a_refusal_is_written_in_the_request_s_dialect(
    gateway: Gateway, body: dict[str, object], too_many: int, overloaded: int
) -> None:
    limit(gateway, version=VersionLimits(max_docs=1))
    large = gateway.post(body=body)
    limit(gateway, version=VersionLimits(max_concurrent_requests=0))
    full = gateway.post(body=body)

    assert (large.status_code, full.status_code) == (too_many, overloaded)
    assert full.headers["retry-after"] == "1"
    assert ("error_type" in full.json()) == ("texts" in body)
    assert ("request_id" in full.json()) == ("docs" in body)


class Slow:
    """A worker that answers when told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.go = asyncio.Event()

    async def score(self, target: Target, errand: Errand) -> Outcome:
        self.asked.release()
        await self.go.wait()
        return by_length(errand)


@pytest.mark.parametrize(
    "server",
    [
        {"max_concurrent_requests": 2},
        {"max_in_flight_bytes": 2 * len(BODY)},
        {"max_queued_pairs": 4},
    ],
    ids=lambda limits: next(iter(limits)),
)
def test_what_is_in_flight_is_bounded_and_its_room_is_used_again(
    gateway: Gateway, run: Run, server: dict[str, int]
) -> None:
    limit(gateway, replace(LIMITS, **server))

    async def scenario() -> None:
        worker = Slow()
        gateway.use(worker)
        async with Front(gateway.app) as front:
            clients = [await front.connect() for _ in range(3)]
            for client in clients[:2]:
                await client.send(POST)
                await worker.asked.acquire()
            await clients[2].send(POST)
            assert code_of(await clients[2].answer()) == (429, "overloaded")

            worker.go.set()
            assert [(await client.answer())[0] for client in clients[:2]] == [200, 200]
            await clients[2].send(POST)
            assert (await clients[2].answer())[0] == 200

    run(scenario())
    assert held(gateway) == [0, 0]


def test_a_client_that_hangs_up_frees_what_it_held(gateway: Gateway, run: Run) -> None:
    async def scenario() -> None:
        worker = Slow()
        gateway.use(worker)
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(POST)
            await worker.asked.acquire()
            said = series("".join(map(str, _page(gateway))))
            assert [said[name] for name in HELD] == [1, len(BODY)]
            client.abort()
            await front.idle()

    run(scenario())
    assert held(gateway) == [0, 0]


def _page(gateway: Gateway) -> list[str]:
    return [
        f"{sample.name} {sample.value}\n"
        for metric in gateway.metrics.collect()
        for sample in metric.samples
        if sample.name in HELD
    ]


def test_slow_senders_hold_bytes_but_nobody_else_up(gateway: Gateway, run: Run) -> None:
    limit(gateway, replace(LIMITS, max_concurrent_requests=1))

    async def scenario() -> None:
        async with Front(gateway.app) as front:
            slow = [await front.connect() for _ in range(5)]
            for client in slow:
                await client.send(POST[:-5])
            quick = await front.connect()
            await quick.send(POST)
            assert (await quick.answer())[0] == 200
            for client in slow:
                await client.send(POST[-5:])
                assert (await client.answer())[0] == 200

    run(scenario())


def test_the_table_in_force_when_a_request_began_is_the_one_that_bounds_it(
    gateway: Gateway, run: Run
) -> None:
    async def scenario() -> None:
        async with Front(gateway.app) as front:
            client = await front.connect()
            await client.send(POST[:-5])
            await client.send(b"")
            limit(gateway, replace(LIMITS, max_docs=1))
            await client.send(POST[-5:])
            first = (await client.answer())[0]
            await client.send(POST)
            assert (first, (await client.answer())[0]) in [(200, 413), (413, 413)]

    run(scenario())


@pytest.mark.parametrize(
    ("asked", "seconds"), [(None, 5.0), ("2", 2.0), ("0.5", 0.5), ("3600", 5.0), (" 1 ", 1.0)]
)
def test_a_client_may_ask_for_less_time_than_the_config_allows(
    gateway: Gateway, asked: str | None, seconds: float
) -> None:
    limit(gateway, version=VersionLimits(request_timeout_s=5.0))
    sent = JSON if asked is None else {**JSON, "X-Request-Timeout": asked}
    before = time.monotonic()

    gateway.post(body=REQUEST, headers=sent)

    (errand,) = gateway.workers.errands
    assert before + seconds <= errand.deadline <= time.monotonic() + seconds


@pytest.mark.parametrize("asked", ["0", "-1", "soon", "nan", "inf", "1e999", "1_0", ""])
def test_a_timeout_that_is_no_positive_number_is_an_error(gateway: Gateway, asked: str) -> None:
    answer = gateway.post(body=REQUEST, headers={**JSON, "X-Request-Timeout": asked})

    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "X-Request-Timeout"


def test_each_worker_is_told_the_bound_of_its_own_queue(gateway: Gateway) -> None:
    first = replace(route("v2", "v2.1", fallback=("v1",)), limits=VersionLimits(max_queued_pairs=7))
    other = replace(route("v1", "v1.1"), limits=VersionLimits(max_queued_pairs=9))
    gateway.show(table(first, other))
    gateway.workers.behaviours = {"v2.1": LOST}

    gateway.post(body=REQUEST)

    assert [errand.max_queued_pairs for errand in gateway.workers.errands] == [7, 9]
