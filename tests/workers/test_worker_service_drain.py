"""A service that drains, or gives up."""

from __future__ import annotations

import pytest

from rerank_workers.jobs import JobFailed
from tests.workers.service import Room


def test_a_drain_answers_what_is_in_flight_and_refuses_the_rest() -> None:
    room = Room()
    caller = room.ask()

    room.service.drain()
    refused = room.ask()
    drained_before = list(room.drained)
    room.score()

    assert refused.status == 503
    assert refused.body["code"] == "draining"
    assert caller.status == 200
    assert (drained_before, room.drained) == ([], [True])


def test_an_idle_worker_is_drained_at_once_and_once() -> None:
    room = Room()

    room.service.drain()
    room.service.drain()

    assert room.drained == [True]


@pytest.mark.parametrize("ending", ["deadline", "hang-up", "error"])
def test_a_drain_ends_however_the_last_request_ends(ending: str) -> None:
    room = Room()
    caller = room.ask(deadline_ms="500")
    room.service.drain()

    match ending:
        case "deadline":
            room.clock.advance(1.0)
        case "hang-up":
            room.service.hung_up(caller)
        case _:
            room.service.hear(JobFailed(room.threads.submitted[0], "no", "x"))

    assert room.drained == [True]


def test_health_is_answered_while_draining() -> None:
    room = Room()
    before = room.send(path="/health", method="GET")
    room.service.drain()
    after = room.send(path="/health", method="GET")

    assert before.body == {"state": "running", "info": {"family": "fake"}}
    assert after.body["state"] == "draining"


def test_a_worker_that_gives_up_sends_its_waiters_on() -> None:
    room = Room()
    callers = [room.ask(), room.ask()]

    room.service.give_up()

    assert [caller.body["code"] for caller in callers] == ["draining"] * 2
    assert room.service.in_flight == 0
