"""A mirror with everything around it faked, and requests offered to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rerank_server.core.agreement import Agreement
from rerank_server.core.routing import RoutesTable, Target
from rerank_server.core.traffic import Mirror
from rerank_server.gateway.copies import Original, Result
from rerank_server.gateway.dialect import Fallback, ScoreRequest, Scores
from rerank_server.gateway.gate import Load
from rerank_server.gateway.ledger import LossLedger
from rerank_server.gateway.mirror import Mirroring
from rerank_server.gateway.upstream import Errand, Outcome, Upstream
from rerank_server.gateway.walk import Walker
from tests.gateway.fakes import FakeUpstream, FixedRoutes, by_length, route, table

PATIENCE_S = 10.0
DOCS = ("a", "bbb", "cc")
OURS = (1.0, 3.0, 2.0)


@dataclass(slots=True)
class Counted:
    """What was counted, and told to who judges."""

    results: list[tuple[str, str, Result]] = field(default_factory=list)
    found: list[tuple[int, Agreement, float | None]] = field(default_factory=list)
    taus: list[tuple[str, str, float]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    changed: asyncio.Event | None = None
    """Set with the next copy that is counted."""

    def count(self, version: str, to: str, result: Result) -> None:
        self.results.append((version, to, result))
        if self.changed is not None:
            self.changed.set()

    def compare(
        self, version: str, to: str, docs: int, found: Agreement, latency_ratio: float | None
    ) -> None:
        self.found.append((docs, found, latency_ratio))

    def compared(self, served: str, to: str, tau: float) -> None:
        self.taus.append((served, to, tau))

    def failed(self, served: str, to: str) -> None:
        self.failures.append((served, to))

    def named(self) -> list[str]:
        return [result.value for _, _, result in self.results]


class Gated:
    """A worker that answers a copy when told to."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[Errand] = asyncio.Queue()
        self.go = asyncio.Semaphore(0)
        self.at_once = self.most_at_once = 0

    async def score(self, target: Target, errand: Errand) -> Outcome:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        self.asked.put_nowait(errand)
        try:
            await self.go.acquire()
        finally:
            self.at_once -= 1
        return by_length(errand)


def mirrored(*, to: str = "v2", share: float = 1.0, **more: object) -> RoutesTable:
    """Return a table of three versions with a mirror."""
    routes = table(route("v1", "v1.1"), route("v2", "v2.1"), route("v3", "v3.1"))
    return replace(routes, mirror=Mirror(to, share), **more)  # type: ignore[arg-type]  # by field


class Room:
    """A mirror with everything around it faked."""

    def __init__(self, directory: Path, upstream: Upstream | None = None) -> None:
        self.workers = FakeUpstream()
        self.counted = Counted()
        self.load = Load()
        self.routes = FixedRoutes()
        self.routes.show(mirrored())
        self.now = 1000.0
        self.ledger = LossLedger(directory, clock=lambda: self.now)
        self.mirroring = Mirroring(
            Walker(upstream or self.workers, self.ledger),
            self.routes,
            self.load,
            self.counted,
            witness=self.counted,
            clock=lambda: self.now,
        )

    def offer(
        self,
        request_id: str = "id",
        version: str = "v1",
        *,
        fallback: Fallback | None = None,
        docs: Sequence[str] = DOCS,
        raw: Sequence[float] = OURS,
        queries: Sequence[str] | None = None,
        inference_ms: float = 5.0,
        body_bytes: int | None = None,
    ) -> None:
        """Offer what was answered."""
        self.mirroring.offer(
            Original(
                request_id=request_id,
                version=version,
                fallback=fallback,
                request=ScoreRequest("q", docs, queries=queries),
                scores=Scores(raw=raw, inference_ms=inference_ms),
                body_bytes=sum(map(len, docs)) if body_bytes is None else body_bytes,
            )
        )

    async def settle(self, copies: int) -> None:
        """Wait until so many copies were counted."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.counted.results) < copies:
                self.counted.changed = asyncio.Event()
                await self.counted.changed.wait()


Scenario = Callable[[], Awaitable[None]]


def run(scenario: Scenario) -> None:
    """Run a scenario on an event loop."""

    async def whole() -> None:
        await scenario()

    asyncio.run(whole())


def offer_one(room: Room, *args: str, **options: object) -> None:
    """Offer one request and wait for its copy, if there is one."""

    async def scenario() -> None:
        room.offer(*args, **options)  # type: ignore[arg-type]  # the test's own keywords
        if room.mirroring.held_bytes:
            await room.settle(1)

    run(scenario)
