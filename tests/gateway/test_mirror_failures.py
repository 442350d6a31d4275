"""Copies that come to nothing, and what must never happen then."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from rerank_server.core.routing import FallbackReason
from rerank_server.errors import DeadlineError
from rerank_server.gateway.copies import Result
from rerank_server.gateway.ledger import digest_of
from rerank_server.gateway.mirror import PAUSE_S
from rerank_server.gateway.upstream import Errand, Lost, Outcome, Refused
from tests.gateway.fakes import failure, scores
from tests.gateway.mirror_room import DOCS, Room, offer_one


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
