"""What a copy asks, and what is compared."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from rerank_server.core.agreement import Agreement
from rerank_server.core.limits import VersionLimits
from rerank_server.gateway.copies import Result
from tests.gateway.fakes import route, scores
from tests.gateway.mirror_room import DOCS, OURS, Room, mirrored, offer_one, run


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
