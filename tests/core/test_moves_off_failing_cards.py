"""Leaving a card that fails, and none because of anything else."""

from __future__ import annotations

import pytest

from rerank_server.core import wire
from rerank_server.core.absence import absent
from rerank_server.core.devices import GpusSeen, Sight
from rerank_server.core.placed import placed
from rerank_server.core.routing import FallbackReason
from rerank_server.core.types import CameLate, State
from tests.core.cards import wishing
from tests.core.story import falling, story


@pytest.mark.parametrize(
    ("code", "cause", "reason", "text"),
    [
        (wire.EXIT_NO_DEVICE_MEMORY, None, FallbackReason.GPU_MEMORY, "gpu 0: ended"),
        (
            wire.EXIT_CRASHED,
            FallbackReason.GPU_ERROR,
            FallbackReason.GPU_ERROR,
            "gpu 0: CUDA error: illegal access",
        ),
    ],
)
def test_a_process_that_its_card_ended_is_placed_on_the_cpu_at_once(
    code: int, cause: FallbackReason | None, reason: FallbackReason, text: str
) -> None:
    told = story(falling())

    told.end("v1", code, cause=cause)

    coming = told.fleet.slot("v1").instances
    assert [(i.spec.device, i.state) for i in coming] == [("cpu", State.STARTING)]
    told.live(2)
    assert told.why("v1") == text
    assert dict(told.fleet.devices.placement("v1").moves) == {reason: 1}
    told.live(20)
    assert told.where("v1") == ["cuda:0"]


def test_a_process_without_memory_takes_another_card_that_has_some() -> None:
    told = story(falling(), cards=2)
    told.end("v1", wire.EXIT_NO_DEVICE_MEMORY)
    told.live(3)

    assert told.where("v1") == ["cuda:1"]
    assert told.why("v1") is None


def test_without_a_fallback_a_process_that_its_card_ended_is_started_there_again() -> None:
    told = story(wishing())

    told.end("v1", wire.EXIT_CRASHED, cause=FallbackReason.GPU_ERROR)
    version = placed(told.wanted, told.fleet).versions["v1"]
    assert absent(version, told.fleet.slot("v1")) is FallbackReason.GPU_ERROR
    told.live(8)

    assert told.where("v1") == ["cuda:0"]


def test_an_ordinary_crash_moves_nothing() -> None:
    told = story(falling())

    told.end("v1", -11)
    told.live(8)

    assert told.where("v1") == ["cuda:0"]
    assert dict(told.fleet.devices.placement("v1").moves) == {}


def test_a_lost_card_is_left_by_all_that_may() -> None:
    told = story(falling("v1"), wishing("v2", need=1000))

    told.lost = {0}
    told.live(3)

    assert told.where("v1") == ["cpu"]
    assert told.why("v1") == "gpu 0 is lost"
    assert told.where("v2") == ["cuda:0"]
    told.live(60)
    assert told.where("v1") == ["cpu"]


def test_a_silent_driver_moves_nobody() -> None:
    told = story(falling())

    told.now += 60.0
    told.step()
    told.step(GpusSeen(Sight(told.now, None, trouble="GPU access blocked")))

    assert told.where("v1") == ["cuda:0"]
    assert told.fleet.devices.sight.gpus is not None
    assert told.fleet.devices.sight.trouble == "GPU access blocked"


def test_a_supervisor_that_came_late_counts_none_of_that_time_as_pressure() -> None:
    told = story(falling())
    told.free = [900]
    told.live(2)

    told.now += 60.0
    told.step(CameLate(60.0))

    assert told.where("v1") == ["cuda:0"]
    assert told.fleet.devices.moved_at == {}
