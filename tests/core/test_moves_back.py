"""Coming back to a card."""

from __future__ import annotations

from rerank_server.core import wire
from rerank_server.core.moves import recover_delay
from rerank_server.core.routing import FallbackReason
from rerank_server.core.types import Exited
from tests.core.cards import GPU_POLICY
from tests.core.story import falling, story


def test_flapping_pressure_makes_each_way_back_longer() -> None:
    told = story(falling())
    waits = []

    for _ in range(4):
        told.free = [900]
        while told.where("v1") != ["cpu"]:
            told.live(1)
        told.free = [8000]
        began = told.now
        while told.where("v1") != ["cuda:0"]:
            told.live(1)
        waits.append(told.now - began)

    assert [round(wait, -1) for wait in waits] == [10, 20, 40, 40]
    assert dict(told.fleet.devices.placement("v1").moves) == {FallbackReason.GPU_MEMORY: 4}


def test_a_long_time_on_the_card_makes_the_next_way_back_short_again() -> None:
    told = story(falling())
    for _ in range(2):
        told.free = [900]
        told.live(10)
        told.free = [8000]
        told.live(30)
    assert told.where("v1") == ["cuda:0"]

    told.live(120)
    told.free = [900]
    told.live(10)
    told.free = [8000]
    told.live(16)

    assert told.where("v1") == ["cuda:0"]


def test_if_the_way_back_fails_the_process_on_the_cpu_goes_on() -> None:
    told = story(falling())
    told.free = [900]
    told.live(10)
    told.free = [8000]
    told.stubborn = True
    told.live(12)
    assert [i.spec.device for i in told.fleet.instances()] == ["cpu", "cuda:0"]

    told.end("v1", wire.EXIT_NO_DEVICE_MEMORY)

    assert told.where("v1") == ["cpu"]
    assert told.why("v1") == "gpu 0 has 900 MB free, needs 1500"
    assert told.fleet.slot("v1").failure is None
    told.stubborn = False
    told.live(15)
    assert told.where("v1") == ["cpu"]
    told.live(30)
    assert told.where("v1") == ["cuda:0"]


def test_if_the_process_on_the_cpu_cannot_start_the_one_on_the_card_goes_on() -> None:
    told = story(falling())
    told.stubborn = True
    told.free = [900]
    told.live(6)
    assert [i.spec.device for i in told.fleet.instances()] == ["cuda:0", "cpu"]

    told.end("v1", wire.EXIT_WOULD_FAIL_AGAIN)

    assert told.where("v1") == ["cuda:0"]
    told.live(8)
    assert [i.spec.device for i in told.fleet.instances()] == ["cuda:0"]


def test_a_way_back_that_closes_again_before_the_start_is_not_taken() -> None:
    told = story(falling("v1"))
    told.free = [900]
    told.live(10)
    told.free = [8000]
    told.live(8)
    assert told.fleet.devices.placement("v1").seats[0] is not None

    told.free = [1000]
    told.live(20)

    assert told.where("v1") == ["cpu"]


def test_a_card_process_that_dies_while_it_moves_does_not_stop_the_move() -> None:
    told = story(falling())
    told.stubborn = True
    told.free = [900]
    told.live(6)

    on_card = told.fleet.slot("v1").instances[0]
    told.step(Exited(on_card.id, -11, "killed"))
    told.stubborn = False
    told.live(3)

    assert told.where("v1") == ["cpu"]


def test_the_default_comes_back_first() -> None:
    told = story(falling("v1"), falling("v2"))
    told.free = [100]
    told.live(40)
    assert (told.where("v1"), told.where("v2")) == (["cpu"], ["cpu"])

    told.free = [8000]
    while told.where("v2") != ["cuda:0"]:
        told.live(1)
        if told.where("v2") == ["cuda:0"]:
            assert told.where("v1") == ["cuda:0"]
    told.live(1)


def test_the_wait_for_the_way_back_doubles_up_to_its_cap() -> None:
    waits = [recover_delay(falls, GPU_POLICY) for falls in range(6)]

    assert waits == [10.0, 10.0, 20.0, 40.0, 40.0, 40.0]
