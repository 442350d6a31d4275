"""Copies of answered requests: who is copied, what is compared, and what must never happen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson
import pytest

from rerank_server.core.agreement import Agreement
from rerank_server.core.limits import VersionLimits
from rerank_server.core.routing import FallbackReason, RoutesTable, Target
from rerank_server.core.traffic import Mirror, fraction
from rerank_server.errors import DeadlineError
from rerank_server.gateway.copies import Original, Result
from rerank_server.gateway.dialect import Fallback, ScoreRequest, Scores
from rerank_server.gateway.gate import Load
from rerank_server.gateway.ledger import LossLedger, digest_of
from rerank_server.gateway.mirror import (
    MAX_DOC_CHARS,
    MAX_DOCS,
    MAX_HELD_BYTES,
    MAX_WAITING,
    PAUSE_S,
    Mirroring,
)
from rerank_server.gateway.upstream import Errand, Lost, Outcome, Refused, Upstream
from rerank_server.gateway.walk import Walker
from tests.gateway.fakes import (
    LIMITS,
    FakeUpstream,
    FixedRoutes,
    by_length,
    failure,
    route,
    scores,
    table,
)

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


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def run(scenario: Scenario) -> None:
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


# --- who is copied ----------------------------------------------------------------------------


def test_the_share_is_drawn_by_request_id_and_always_alike(room: Room) -> None:
    room.routes.show(mirrored(share=0.25))
    ids = [f"id-{number}" for number in range(200)]
    drawn = [each for each in ids if fraction(each, "mirror") < 0.25]

    async def scenario() -> None:
        for count, request_id in enumerate(drawn, start=1):
            room.offer(request_id)
            await room.settle(count)
        for request_id in set(ids) - set(drawn):
            room.offer(request_id)

    run(scenario)

    assert [errand.request_id for errand in room.workers.errands] == drawn
    assert 30 < len(drawn) < 70
    assert room.counted.named() == ["compared"] * len(drawn)


@pytest.mark.parametrize(
    ("version", "asked", "reason"),
    [
        pytest.param("v2", None, None, id="it answered"),
        pytest.param("v2", "v1", FallbackReason.STARTING, id="it answered for another"),
        pytest.param("v1", "v2", FallbackReason.DRAINING, id="it should have answered"),
        pytest.param("v1", "v2", FallbackReason.LOST, id="it died with the text"),
        pytest.param("v1", "v3", FallbackReason.LOST, id="a third one died with the text"),
    ],
)
def test_a_request_that_concerned_the_version_itself_or_killed_a_process_is_not_copied(
    room: Room, version: str, asked: str | None, reason: FallbackReason | None
) -> None:
    fallback = Fallback(asked, reason) if asked and reason else None

    offer_one(room, "id", version, fallback=fallback)

    assert room.workers.visits == []
    assert room.counted.results == []


def test_a_request_that_another_version_answered_for_a_third_is_copied(room: Room) -> None:
    offer_one(room, "id", "v1", fallback=Fallback("v3", FallbackReason.STARTING))

    assert room.counted.results == [("v1", "v2", Result.COMPARED)]


def test_without_a_mirror_nothing_is_copied(room: Room) -> None:
    room.routes.show(replace(mirrored(), mirror=None))
    offer_one(room)
    room.routes.view = None
    offer_one(room)

    assert room.counted.results == []


@pytest.mark.parametrize(
    "options",
    [
        {"docs": ["a"], "raw": [1.0]},
        {"docs": [], "raw": []},
        {"queries": ["q", "r", "s"]},
        {"docs": ["d"] * (MAX_DOCS + 1), "raw": [1.0] * (MAX_DOCS + 1)},
        {"docs": ["d", "d" * (MAX_DOC_CHARS + 1)], "raw": [1.0, 2.0]},
    ],
    ids=["one document", "none", "pairs", "very many", "very long"],
)
def test_what_cannot_be_compared_is_skipped(room: Room, options: dict[str, object]) -> None:
    offer_one(room, **options)

    assert room.workers.visits == []
    assert room.counted.results == [("v1", "v2", Result.SKIPPED)]


@pytest.mark.parametrize(
    "limits",
    [
        VersionLimits(max_docs=2),
        VersionLimits(max_queued_pairs=2),
        VersionLimits(max_doc_chars=2),
    ],
)
def test_what_the_version_would_refuse_is_skipped(room: Room, limits: VersionLimits) -> None:
    shown = mirrored()
    small = replace(shown.versions["v2"], limits=limits)
    room.routes.show(replace(shown, versions={**shown.versions, "v2": small}))

    offer_one(room)
    offer_one(room, docs=["a", "bb"], raw=[1.0, 2.0])

    assert room.counted.named() == ["skipped", "compared"]


# --- what is sent and compared ----------------------------------------------------------------


def test_a_copy_asks_the_one_version_for_the_same_texts_and_says_what_it_is(room: Room) -> None:
    limits = VersionLimits(request_timeout_s=7.0, max_queued_pairs=9)
    shown = mirrored()
    target = replace(shown.versions["v2"], limits=limits)
    room.routes.show(replace(shown, versions={**shown.versions, "v2": target}))

    offer_one(room)

    (errand,) = room.workers.errands
    assert room.workers.visits == ["v2.1"]
    assert orjson.loads(errand.payload) == {"query": "q", "docs": list(DOCS)}
    assert errand.is_copy
    assert errand.request_id == "id"
    assert (errand.deadline, errand.max_queued_pairs) == (1007.0, 9)


def test_the_two_rankings_are_compared(room: Room) -> None:
    room.workers.behaviours = {"v2.1": scores([3.0, 1.0, 2.0], inference_ms=10.0)}

    offer_one(room)

    assert room.counted.results == [("v1", "v2", Result.COMPARED)]
    assert room.counted.found == [(3, Agreement(False, -1.0, 1.0), 2.0)]
    assert room.counted.taus == [("v1", "v2", -1.0)]


@pytest.mark.parametrize(("ours_ms", "theirs_ms"), [(0.0, 5.0), (5.0, 0.0)])
def test_times_that_nobody_measured_give_no_ratio(
    room: Room, ours_ms: float, theirs_ms: float
) -> None:
    room.workers.behaviours = {"v2.1": scores(OURS, inference_ms=theirs_ms)}

    offer_one(room, inference_ms=ours_ms)

    assert room.counted.found == [(3, Agreement(True, 1.0, 1.0), None)]


def test_the_instances_of_a_version_take_turns(room: Room) -> None:
    shown = mirrored()
    two = route("v2", "v2.1", "v2.2")
    room.routes.show(replace(shown, versions={**shown.versions, "v2": two}))

    async def scenario() -> None:
        for count in range(1, 5):
            room.offer()
            await room.settle(count)

    run(scenario)

    assert sorted(room.workers.visits) == ["v2.1", "v2.1", "v2.2", "v2.2"]


# --- what goes wrong --------------------------------------------------------------------------


def raising(error: Exception) -> Callable[[Errand], Outcome]:
    def behave(errand: Errand) -> Outcome:
        raise error

    return behave


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        (Refused(FallbackReason.DRAINING), Result.SHED),
        (Refused(FallbackReason.HUNG), Result.SHED),
        (Refused(FallbackReason.LOST), Result.SHED),
        (failure(429, "queue_full"), Result.SHED),
        (failure(500, "model_error"), Result.FAILED),
        (failure(504, "deadline_exceeded"), Result.FAILED),
        (failure(400, "invalid_request"), Result.FAILED),
        (scores([1.0]), Result.FAILED),
        (raising(DeadlineError()), Result.FAILED),
        (raising(ZeroDivisionError("a bug")), Result.FAILED),
        (Lost(), Result.FAILED),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_copy_that_comes_to_nothing_is_counted_and_asks_nobody_else(
    room: Room, behaviour: Outcome, result: Result
) -> None:
    room.workers.behaviours = {"v2.1": behaviour}

    offer_one(room)

    assert room.workers.visits == ["v2.1"]
    assert room.counted.results == [("v1", "v2", result)]
    assert room.counted.failures == [("v1", "v2")] * (result is Result.FAILED)
    assert room.counted.found == []
    assert room.mirroring.held_bytes == 0
    assert room.ledger.is_empty() is not isinstance(behaviour, Lost)


def test_the_next_copy_is_made_after_one_failed_unexpectedly(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.workers.behaviours = {"v2.1": raising(ZeroDivisionError("sEcReT"))}
    offer_one(room)
    room.workers.behaviours = {}
    room.counted.results.clear()

    offer_one(room)

    assert room.counted.named() == ["compared"]
    (record,) = caplog.records
    assert record.message == "copy failed unexpectedly"
    assert "sEcReT" not in str(vars(record))


def test_a_version_that_died_with_a_copy_gets_none_for_a_while(room: Room) -> None:
    room.workers.behaviours = {"v2.1": Lost()}
    offer_one(room)
    room.workers.behaviours = {}

    offer_one(room)
    room.now += PAUSE_S
    offer_one(room)

    assert room.workers.visits == ["v2.1"] * 2
    assert room.counted.named() == ["failed", "shed", "compared"]


TEXT = orjson.dumps({"query": "q", "docs": DOCS})


def test_the_text_of_a_copy_with_which_a_version_died_is_on_record(room: Room) -> None:
    room.workers.behaviours = {"v2.1": Lost()}

    offer_one(room)

    assert room.ledger.deaths(digest_of(TEXT)) == 1


@pytest.mark.parametrize("is_cleared", [False, True])
def test_a_text_with_which_a_process_died_is_not_copied(room: Room, is_cleared: bool) -> None:
    room.ledger.record(digest_of(TEXT), "v2.0")
    if is_cleared:  # another version has scored it since, which proves nothing of this one
        room.ledger.clear(digest_of(TEXT))

    offer_one(room)
    offer_one(room, docs=["other", "texts"], raw=[1.0, 2.0])

    assert room.workers.visits == ["v2.1"]
    assert room.counted.named() == ["shed", "compared"]


# --- who comes first --------------------------------------------------------------------------


def overload(room: Room) -> None:
    room.load.requests = LIMITS.max_concurrent_requests // 2 + 1


def take_away(room: Room) -> None:
    shown = mirrored()
    absent = route("v2", absent=FallbackReason.FAILED)
    room.routes.show(replace(shown, versions={**shown.versions, "v2": absent}))


def disable(room: Room) -> None:
    shown = mirrored()
    disabled = route("v2", "v2.1", enabled=False)
    room.routes.show(replace(shown, versions={**shown.versions, "v2": disabled}))


def forget(room: Room) -> None:
    room.routes.show(replace(table(route("v1", "v1.1")), mirror=Mirror("v2", 1.0)))


def stop(room: Room) -> None:
    room.routes.show(mirrored(is_stopping=True))


@pytest.mark.parametrize("change", [overload, take_away, disable, forget, stop])
def test_a_copy_is_shed_while_it_would_be_in_the_way_or_finds_nobody(
    room: Room, change: Callable[[Room], None]
) -> None:
    change(room)

    offer_one(room)

    assert room.workers.visits == []
    assert room.counted.results == [("v1", "v2", Result.SHED)]


@pytest.mark.parametrize("change", [overload, take_away, disable, forget, stop])
def test_a_copy_that_waited_is_shed_when_its_turn_comes_too_late(
    tmp_path: Path, change: Callable[[Room], None]
) -> None:
    async def scenario() -> None:
        worker = Gated()
        room = Room(tmp_path, worker)
        room.offer("first")
        await worker.asked.get()
        room.offer("second")
        change(room)
        worker.go.release()
        await room.settle(2)
        assert room.counted.named() == ["compared", "shed"]
        assert room.mirroring.held_bytes == 0

    run(scenario)


def test_a_copy_that_waited_too_long_behind_others_is_shed_and_no_failure(tmp_path: Path) -> None:
    async def scenario() -> None:
        worker = Gated()
        room = Room(tmp_path, worker)
        most_s = VersionLimits().request_timeout_s
        room.offer("first")
        await worker.asked.get()
        room.offer("second")
        room.now += 1.0
        room.offer("third")
        room.now += most_s - 1.0
        for _ in range(2):
            worker.go.release()
        await room.settle(3)
        assert room.counted.named() == ["compared", "shed", "compared"]
        assert (await worker.asked.get()).deadline == room.now + most_s
        assert room.counted.failures == []

    run(scenario)


def mirror_to(other: str | None) -> RoutesTable:
    return replace(mirrored(), mirror=None if other is None else Mirror(other, 1.0))


@pytest.mark.parametrize("other", ["v3", None])
def test_a_mirror_that_points_elsewhere_waits_no_longer_for_the_former(
    tmp_path: Path, other: str | None
) -> None:
    async def scenario() -> None:
        worker = Gated()
        room = Room(tmp_path, worker)
        room.offer("first")
        await worker.asked.get()
        room.offer("second")
        room.routes.show(mirror_to(other))
        for request_id in ("third", "fourth"):
            room.offer(request_id)
        await room.settle(2)
        assert room.counted.results == [("v1", "v2", Result.SHED)] * 2
        if other is None:
            assert room.mirroring.held_bytes == 0
        else:
            assert (await worker.asked.get()).request_id == "third"
            worker.go.release()
            worker.go.release()
            await room.settle(4)
            assert room.counted.results[2:] == [("v1", "v3", Result.COMPARED)] * 2
        assert worker.at_once == 0

    run(scenario)


def test_half_of_the_gateway_s_requests_leave_room_for_a_copy(room: Room) -> None:
    room.load.requests = LIMITS.max_concurrent_requests // 2

    offer_one(room)

    assert room.counted.named() == ["compared"]


def test_one_copy_is_scored_at_a_time_and_few_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        worker = Gated()
        room = Room(tmp_path, worker)
        room.offer("0")
        await worker.asked.get()
        for number in range(1, MAX_WAITING + 4):
            room.offer(str(number))
        assert room.counted.named() == ["shed"] * 3
        for _ in range(MAX_WAITING + 1):
            worker.go.release()
        await room.settle(MAX_WAITING + 4)
        assert room.counted.named() == ["shed"] * 3 + ["compared"] * (MAX_WAITING + 1)
        assert worker.most_at_once == 1

    run(scenario)


def test_the_texts_held_are_bounded(tmp_path: Path) -> None:
    large = ["d" * MAX_DOC_CHARS] * (MAX_HELD_BYTES // MAX_DOC_CHARS // 2 - 1)

    async def scenario() -> None:
        worker = Gated()
        room = Room(tmp_path, worker)
        room.offer("0", docs=large, raw=[1.0] * len(large))
        await worker.asked.get()
        held = room.mirroring.held_bytes
        room.offer("1", docs=large, raw=[1.0] * len(large))
        room.offer("2", body_bytes=MAX_HELD_BYTES // 4)
        assert room.counted.named() == ["shed"]
        assert 0 < held < room.mirroring.held_bytes <= MAX_HELD_BYTES
        for _ in range(2):
            worker.go.release()
        await room.settle(3)
        assert room.mirroring.held_bytes == 0

    run(scenario)


def test_texts_longer_than_the_body_they_were_made_of_are_bounded_too(room: Room) -> None:
    docs = ["d" * MAX_DOC_CHARS] * (MAX_HELD_BYTES // MAX_DOC_CHARS)
    offer_one(room, docs=docs, raw=[1.0] * len(docs), body_bytes=10)

    assert room.counted.named() == ["shed"]
    assert room.mirroring.held_bytes == 0


def test_a_loop_that_ends_takes_its_copy_along_and_the_next_goes_on(tmp_path: Path) -> None:
    worker = FakeUpstream()
    room = Room(tmp_path, worker)

    async def end_at_once() -> None:
        room.offer()

    run(end_at_once)
    offer_one(room)

    assert set(room.counted.named()) == {"compared"}
