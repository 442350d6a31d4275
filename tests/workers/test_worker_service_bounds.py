"""Deadlines, a full queue, and clients that hang up."""

from __future__ import annotations

import pytest

from tests.workers.service import Room


def test_the_bound_of_the_queue_comes_with_the_request() -> None:
    room = Room(max_queued_pairs=1000)

    room.ask(3, max_queued_pairs="4")
    full = room.ask(2, max_queued_pairs="4")
    impossible = room.ask(5, max_queued_pairs="4")
    odd = room.ask(1, max_queued_pairs="many")

    assert (full.status, full.body["code"]) == (429, "queue_full")
    assert (impossible.status, odd.status) == (400, 400)


def test_a_deadline_answers_at_once_and_drops_the_work() -> None:
    room = Room()
    caller = room.ask(3, deadline_ms="500")

    room.clock.advance(0.5)

    assert caller.status == 504
    assert caller.body["code"] == "deadline_exceeded"
    assert room.threads.dropped == room.threads.submitted
    assert room.threads.submitted[0].is_gone
    assert (room.service.in_flight, room.service.queued_pairs) == (0, 0)


def test_a_result_after_the_deadline_is_counted_and_not_sent() -> None:
    room = Room()
    caller = room.ask(deadline_ms="500")
    room.clock.advance(1.0)

    room.score()

    assert len(caller.answers) == 1
    assert room.service.tally.pairs == 1


def test_an_answer_in_time_cancels_its_deadline() -> None:
    room = Room()
    caller = room.ask(deadline_ms="500")
    room.score()

    room.clock.advance(1.0)

    assert caller.status == 200
    assert len(caller.answers) == 1


@pytest.mark.parametrize(
    ("value", "status"), [("0", 504), ("-5", 504), ("soon", 400), ("nan", 400), ("inf", 400)]
)
def test_a_deadline_that_passed_or_makes_no_sense_is_refused(value: str, status: int) -> None:
    room = Room()

    assert room.ask(deadline_ms=value).status == status
    assert room.threads.submitted == []


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    room = Room()
    room.ask(8)

    refused = room.ask(3)
    fits = room.ask(2)

    assert refused.status == 429
    assert refused.body["code"] == "queue_full"
    assert ("retry-after", "1") in refused.answers[0].headers
    assert fits.status is None


def test_a_request_larger_than_the_whole_queue_is_not_valid() -> None:
    assert Room().ask(11).status == 400


def test_a_client_that_hangs_up_frees_its_work_at_once() -> None:
    room = Room()
    caller = room.ask(8)

    room.service.hung_up(caller)
    room.service.hung_up(caller)

    assert room.threads.dropped == room.threads.submitted
    assert room.service.queued_pairs == 0
    assert room.ask(8).status is None
