"""Which device each version gets: tables of decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.absence import absent
from rerank_server.core.devices import NO_GPUS, Devices, Gpu, GpusSeen, Sight
from rerank_server.core.lifecycle import apply
from rerank_server.core.plan import verdict
from rerank_server.core.routing import FallbackReason
from rerank_server.core.types import Beaten, Fleet, Spawned
from rerank_server.core.wanted import MB, WantedVersion
from tests.core.build import wanted
from tests.core.cards import (
    FALLS,
    PATIENT,
    card,
    decide,
    look,
    placed_on,
    running,
    seeing,
    where,
    wishing,
)


@pytest.mark.parametrize(
    ("device", "cards", "expected"),
    [
        ("auto", [], ["cpu"]),
        ("cpu", [card(free=8000)], ["cpu"]),
        ("auto", [card(free=8000)], ["cuda:0"]),
        ("auto", [card(0, free=3000), card(1, free=5000)], ["cuda:1"]),
        ("auto", [card(0, free=5000), card(1, free=5000)], ["cuda:0"]),
        ("cuda", [card(0, free=1000), card(1, free=5000)], ["cuda:1"]),
        ("cuda:0", [card(0, free=3000), card(1, free=5000)], ["cuda:0"]),
        ("auto", [card(0, free=8000, is_lost=True), card(1, free=5000)], ["cuda:1"]),
        ("cuda:1", [card(0, free=8000)], []),
        ("auto", [card(free=1999)], []),
        ("auto", [card(free=2000)], ["cuda:0"]),
    ],
)
def test_a_version_gets_the_card_with_most_room_that_it_may_have(
    device: str, cards: list[Gpu], expected: list[str]
) -> None:
    asked = placed_on(wanted(wishing(device=device)), *cards)

    assert where(asked, "v1") == expected


@pytest.mark.parametrize(
    ("asked", "cards", "problem"),
    [
        (wishing(device="cuda:0"), [], "device cuda:0: this host has no GPU"),
        (
            wishing(device="cuda:3"),
            [card(0, free=9000), card(1, free=9000)],
            "device cuda:3 not found; this host has cuda:0-1",
        ),
        (
            wishing(device="cuda:1"),
            [card(free=9000)],
            "device cuda:1 not found; this host has cuda:0",
        ),
        (
            wishing(),
            [card(free=900)],
            "gpu 0 has 900 MB free, needs 2000; or set fallback_to_cpu: true",
        ),
        (
            wishing(),
            [card(0, free=900), card(1, free=100)],
            "gpu 0 has 900 MB free, gpu 1 has 100 MB free, needs 2000; "
            "or set fallback_to_cpu: true",
        ),
        (wishing(device="cuda:0"), [card(free=0, is_lost=True)], "gpu 0 is lost"),
    ],
)
def test_a_version_without_a_device_says_why(
    asked: WantedVersion, cards: list[Gpu], problem: str
) -> None:
    placed = placed_on(wanted(asked), *cards)

    assert placed.versions["v1"].problem == problem
    assert verdict(placed, Fleet()) is not None


def test_too_little_memory_puts_a_version_that_may_on_the_cpu_degraded() -> None:
    placed = placed_on(wanted(wishing(**FALLS)), card(free=3400))

    version = placed.versions["v1"]
    assert where(placed, "v1") == ["cpu"]
    assert version.specs[0].model == "model_cpu"
    assert version.degraded is not None
    assert version.degraded.reason is FallbackReason.GPU_MEMORY
    assert version.degraded.text == "gpu 0 has 3400 MB free, needs 3500"


def test_no_process_is_put_on_the_cpu_without_host_memory() -> None:
    asked = wishing(fallback=True)

    placed = placed_on(wanted(asked), card(free=100), host=300)

    assert where(placed, "v1") == []
    assert placed.versions["v1"].problem == (
        "gpu 0 has 100 MB free, needs 2000; and the host has 300 MB free, the CPU needs 400"
    )
    assert absent(placed.versions["v1"], Fleet().slot("v1")) is FallbackReason.GPU_MEMORY


def test_of_two_versions_that_fit_alone_the_first_in_config_order_gets_the_card() -> None:
    both = wanted(wishing("v1"), wishing("v2"), default="v2")

    placed = placed_on(both, card(free=3000))

    assert where(placed, "v1") == ["cuda:0"]
    assert where(placed, "v2") == []


def test_replicas_are_spread_over_the_cards() -> None:
    placed = placed_on(wanted(wishing(replicas=3)), card(0, free=5000), card(1, free=6000))

    assert where(placed, "v1") == ["cuda:1", "cuda:0", "cuda:1"]


def test_a_newcomer_leaves_the_memory_that_its_neighbours_insist_on() -> None:
    asked = wanted(wishing("v1", **FALLS), wishing("v2"))

    placed = placed_on(asked, card(free=5400))

    assert (where(placed, "v1"), where(placed, "v2")) == (["cuda:0"], [])


@pytest.mark.parametrize(
    ("sight", "now", "expected", "waits"),
    [
        (Sight(0.0, None), 1.0, [], True),
        (Sight(0.0, None), 11.0, ["cpu"], False),
        (Sight(0.0, None, trouble="driver/library version mismatch"), 0.0, ["cpu"], False),
        (look(card(free=9000)), 6.0, [], True),
        (look(card(free=9000)), 11.0, ["cpu"], False),
        (NO_GPUS, 1e9, ["cpu"], False),
    ],
    ids=["not looked yet", "silent", "in trouble", "stale", "fell silent", "no GPU"],
)
def test_a_driver_that_is_silent_is_waited_for_and_then_given_up(
    sight: Sight, now: float, expected: list[str], waits: bool
) -> None:
    placed, _ = decide(wanted(wishing()), seeing(Fleet(), sight), now)

    assert where(placed, "v1") == expected
    assert (placed.versions["v1"].waits is not None) is waits


def test_without_a_gpu_nothing_is_degraded() -> None:
    placed, _ = decide(wanted(wishing(**FALLS)), Fleet())

    assert placed.versions["v1"].degraded is None
    assert placed.versions["v1"].specs[0].model == "model"


def test_a_need_that_is_not_declared_is_guessed_from_the_weights() -> None:
    asked = wanted(wishing(need=None))

    assert where(placed_on(asked, card(free=799)), "v1") == []
    assert where(placed_on(asked, card(free=800)), "v1") == ["cuda:0"]


@pytest.mark.parametrize(("free", "expected"), [(6999, []), (7000, ["cuda:0"])])
def test_a_need_is_learnt_from_the_drivers_own_figure(free: int, expected: list[str]) -> None:
    asked = wanted(wishing(need=None))
    known = running(asked, seeing(Fleet(), look(card(free=8000))))
    known = apply(known, Spawned("v1.1", 4242), 5.0, PATIENT)
    used = replace(card(free=700), used={4242: 7000 * MB})
    known = apply(known, GpusSeen(look(used, at=5.0)), 5.0, PATIENT)

    again = Fleet(devices=Devices(sight=look(card(free=free)), learnt=known.devices.learnt))

    assert where(decide(asked, again)[0], "v1") == expected


def test_a_need_is_learnt_from_beats_and_the_context_added() -> None:
    asked = wanted(wishing(need=None))
    known = running(asked, seeing(Fleet(), look(card(free=8000))))

    beat = Beaten("v1.1", 0, None, gpu_memory_bytes=1000 * MB)
    known = apply(known, beat, 5.0, PATIENT)

    assert list(known.devices.learnt.values()) == [1500 * MB]
