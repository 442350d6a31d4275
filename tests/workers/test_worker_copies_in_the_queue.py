"""Copies for comparison are in no request's way: in the queue, and while a worker drains."""

from __future__ import annotations

import pytest

from rerank_workers.jobs import BatchDone, JobFailed, Scored
from rerank_workers.tally import ERRORS_IN_A_ROW
from tests.workers.jobs import copy, request
from tests.workers.service import Caller, Room


def ask_copy(room: Room, docs: int = 1, **headers: str) -> Caller:
    return room.ask(docs, mirror="1", **headers)


def test_a_copy_says_so_in_a_header() -> None:
    room = Room()

    ask_copy(room)
    room.ask()
    room.ask(mirror="0")

    assert [job.is_copy for job in room.threads.submitted] == [True, False, False]


def test_copies_take_no_room_in_the_queue_of_requests() -> None:
    room = Room(max_queued_pairs=10)
    ask_copy(room, 10)

    request_after = room.ask(10)
    copy_after = ask_copy(room, 1)

    assert request_after.status is None
    assert (copy_after.status, copy_after.body["code"]) == (429, "queue_full")
    assert (room.service.in_flight, room.service.queued_pairs) == (1, 10)


def test_a_drain_waits_for_no_copy() -> None:
    room = Room()
    caller = ask_copy(room)
    copied = room.threads.submitted[0]

    room.service.drain()

    assert room.drained == [True]
    assert (caller.status, caller.body["code"]) == (503, "draining")
    assert copied.is_gone
    assert room.threads.dropped == [copied]


def test_a_drain_waits_for_the_request_beside_a_copy() -> None:
    room = Room()
    waiter = room.ask()
    ask_copy(room)

    room.service.drain()
    before = list(room.drained)
    room.score(0)

    assert (before, room.drained) == ([], [True])
    assert waiter.status == 200


@pytest.mark.parametrize("ending", ["score", "deadline", "hang-up", "error"])
def test_what_a_copy_held_is_free_again_however_it_ends(ending: str) -> None:
    room = Room(max_queued_pairs=10)
    caller = ask_copy(room, 10, deadline_ms="500")

    match ending:
        case "score":
            room.score()
        case "deadline":
            room.clock.advance(1.0)
        case "hang-up":
            room.service.hung_up(caller)
        case _:
            room.service.hear(JobFailed(room.threads.submitted[0], "no", "x"))

    assert ask_copy(room, 10).status is None


def test_copies_that_fail_never_make_the_worker_unhealthy() -> None:
    room = Room()

    for number in range(ERRORS_IN_A_ROW):
        room.service.hear(JobFailed(copy(number, "d"), "no", "x"))

    assert room.service.tally.unhealthy is None


def test_copies_enter_neither_the_requests_nor_their_times_and_errors() -> None:
    room = Room()

    room.service.hear(BatchDone(pairs=1, tokens=7, duration_s=0.1))
    room.service.hear(Scored(copy(1, "d"), [0.1], [0.5], [1], [], 0.0, 0.1))
    room.service.hear(JobFailed(copy(2, "d"), "no", "x"))

    said = room.service.tally.fields()
    assert (said["requests"], said["errors"], said["duration_count"]) == (0, 0, 0)
    assert (said["pairs"], said["tokens"]) == (1, 7)


def test_a_copy_that_succeeds_hides_no_row_of_failing_requests() -> None:
    room = Room()

    for number in range(ERRORS_IN_A_ROW):
        room.service.hear(JobFailed(request(number, "d"), "no", "x"))
        room.service.hear(Scored(copy(number, "d"), [0.1], [0.5], [1], [], 0.0, 0.1))

    assert room.service.tally.unhealthy is not None
