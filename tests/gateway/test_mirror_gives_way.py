"""Requests come first: copies are shed, few and bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rerank_server.core.limits import VersionLimits
from rerank_server.core.routing import FallbackReason, RoutesTable
from rerank_server.core.traffic import Mirror
from rerank_server.gateway.copies import Result
from rerank_server.gateway.mirror import MAX_DOC_CHARS, MAX_HELD_BYTES, MAX_WAITING
from tests.gateway.fakes import LIMITS, FakeUpstream, route, table
from tests.gateway.mirror_room import Gated, Room, mirrored, offer_one, run


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
