"""Where each version is placed: tables of decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

import pytest

from rerank_server.core.absence import absent
from rerank_server.core.devices import NO_GPUS, Devices, Gpu, GpusSeen, Seat, Sight
from rerank_server.core.lifecycle import apply, forget, issue
from rerank_server.core.plan import plan, verdict
from rerank_server.core.reconcile import reconcile
from rerank_server.core.routing import FallbackReason
from rerank_server.core.types import (
    Beaten,
    BecameReady,
    CameLate,
    Drain,
    Exited,
    Fleet,
    Spawned,
    Start,
)
from rerank_server.core.wanted import MB, Degraded, Replace, Wanted, WantedVersion
from tests.core.build import POLICY as PLAIN
from tests.core.build import wanted
from tests.core.cards import card, decide, look, seeing, where, wishing


class _Falls(TypedDict):
    fallback: bool
    threshold: int


POLICY = replace(PLAIN, beat_timeout_s=1e9)
FALLS: _Falls = {"fallback": True, "threshold": 1500}


def placed_on(asked: Wanted, *cards: Gpu, host: int | None = None) -> Wanted:
    return decide(asked, seeing(Fleet(), look(*cards, host=host)))[0]


def running(asked: Wanted, before: Fleet, now: float = 0.0) -> Fleet:
    """Return the fleet with all that may start started, and running."""
    for _ in range(10):
        placed, before = decide(asked, before, now)
        starts = [a for a in reconcile(placed, before, now, POLICY) if isinstance(a, Start)]
        if not starts:
            return before
        for start in starts:
            before = apply(issue(before, start, now), BecameReady(start.instance, {}), now, POLICY)
        now += 1.0
        before = seeing(before, replace(before.devices.sight, at=now))
    raise AssertionError("does not come to rest")


# --- the first seat -----------------------------------------------------------------------------


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
    known = apply(known, Spawned("v1.1", 4242), 5.0, POLICY)
    used = replace(card(free=700), used={4242: 7000 * MB})
    known = apply(known, GpusSeen(look(used, at=5.0)), 5.0, POLICY)

    again = Fleet(devices=Devices(sight=look(card(free=free)), learnt=known.devices.learnt))

    assert where(decide(asked, again)[0], "v1") == expected


def test_a_need_is_learnt_from_beats_and_the_context_added() -> None:
    asked = wanted(wishing(need=None))
    known = running(asked, seeing(Fleet(), look(card(free=8000))))

    beat = Beaten("v1.1", 0, None, gpu_memory_bytes=1000 * MB)
    known = apply(known, beat, 5.0, POLICY)

    assert list(known.devices.learnt.values()) == [1500 * MB]


# --- starts on cards ----------------------------------------------------------------------------


def test_one_version_after_another_loads_on_a_card() -> None:
    asked, before = decide(
        wanted(wishing("v1"), wishing("v2")), seeing(Fleet(), look(card(free=8000)))
    )
    assert (where(asked, "v1"), where(asked, "v2")) == (["cuda:0"], ["cuda:0"])

    actions = reconcile(asked, before, 0.0, POLICY)

    assert [a.instance for a in actions] == ["v1.1"]


def test_a_version_waits_until_the_one_before_it_is_seen_on_the_card() -> None:
    both = wanted(wishing("v1"), wishing("v2"))
    asked, before = decide(both, seeing(Fleet(), look(card(free=8000))))
    for action in reconcile(asked, before, 0.0, POLICY):
        before = issue(before, action, 0.0)
    before = apply(before, BecameReady("v1.1", {}), 1.0, POLICY)

    assert where(decide(both, before, 1.0)[0], "v2") == ["cuda:0!"]
    before = seeing(before, look(card(free=6000), at=1.5))
    assert where(decide(both, before, 1.5)[0], "v2") == ["cuda:0"]


def test_what_does_not_fit_beside_a_load_waits_for_its_end_before_it_is_given_up() -> None:
    both = wanted(wishing("v1"), wishing("v2"))
    asked, before = decide(both, seeing(Fleet(), look(card(free=3900))))
    for action in reconcile(asked, before, 0.0, POLICY):
        before = issue(before, action, 0.0)
    before = seeing(before, look(card(free=3000), at=1.0))

    asked, before = decide(both, before, 1.0)

    assert asked.versions["v2"].waits == "memory of a GPU is about to be returned or taken"
    assert asked.versions["v2"].problem is None
    assert verdict(asked, before) is None


def test_a_version_that_waits_for_a_device_keeps_the_count_of_its_failures() -> None:
    both = wanted(wishing("v1"), wishing("v2"))
    known = running(both, seeing(Fleet(), look(card(free=8000))))
    known = apply(known, Exited("v2.1", -11, "killed"), 3.0, POLICY)
    known = issue(known, Drain("v1.1", "for the test"), 3.0)
    known = seeing(known, look(card(free=100), at=4.0))
    hungry = wanted(wishing("v1"), wishing("v2", device="cuda", need=3000))

    asked, known = decide(hungry, known, 4.0)
    unseated = Devices(sight=known.devices.sight)
    asked, known = decide(hungry, replace(known, devices=unseated), 4.0)

    assert asked.versions["v2"].waits is not None
    assert forget(asked, known).slot("v2").failure is not None


def test_a_way_back_that_closes_before_the_start_leaves_the_version_where_it_is() -> None:
    alone = wanted(wishing(**FALLS))
    why = Degraded(FallbackReason.GPU_MEMORY, "gpu 0 has 900 MB free, needs 1500")
    on_cpu = Seat(degraded=why, is_stand_in=True, falls=1)
    back = Seat("GPU-0", 0, origin=on_cpu, falls=1)
    devices = Devices(sight=look(card(free=1000))).with_seat("v1", 0, back)

    asked, _ = decide(alone, Fleet(devices=devices))

    assert where(asked, "v1") == ["cpu"]
    assert asked.versions["v1"].degraded == why


def test_a_driver_in_trouble_before_its_first_answer_is_waited_for_from_the_start() -> None:
    waiting = seeing(Fleet(), Sight(1.0, None))

    after = apply(waiting, GpusSeen(Sight(9.0, None, trouble="busy")), 9.0, POLICY)

    assert after.devices.sight == Sight(1.0, None, trouble="busy")


def test_times_of_a_replica_without_a_seat_move_with_the_clock_too() -> None:
    devices = Devices(sight=look(card(free=1), at=5.0)).with_seat("v1", 1, Seat(since=3.0))

    late = apply(Fleet(devices=devices), CameLate(2.0), 9.0, POLICY).devices

    assert late.sight.at == 7.0
    assert late.placement("v1").seats == (None, Seat(since=5.0, retry_at=2.0))
    assert [replica for _, replica, _ in late.seats()] == [1]


def test_a_silent_driver_does_not_hold_a_restart_for_ever() -> None:
    alone = wanted(wishing(device="cuda:0"))
    known = running(alone, seeing(Fleet(), look(card(free=8000))))
    crashed = apply(known, Exited("v1.1", -11, "killed"), 2.0, POLICY)

    assert where(decide(alone, crashed, 3.0)[0], "v1") == ["cuda:0!"]
    assert where(decide(alone, crashed, 30.0)[0], "v1") == ["cuda:0"]


# --- replacement on a card ----------------------------------------------------------------------


def changed(mode: Replace, *, fallback: bool = False, threshold: int = 0) -> Wanted:
    return wanted(wishing(files="b", mode=mode, fallback=fallback, threshold=threshold))


def test_a_replacement_starts_beside_the_old_process_where_both_fit() -> None:
    known = running(wanted(wishing()), seeing(Fleet(), look(card(free=8000))))
    known = seeing(known, look(card(free=2000), at=5.0))

    asked, known = decide(changed("auto"), known, 5.0)
    actions = reconcile(asked, known, 5.0, POLICY)

    assert [type(a) for a in actions] == [Start]


def test_a_replacement_on_a_full_card_stops_the_old_process_first_and_is_not_moved() -> None:
    known = running(wanted(wishing(**FALLS)), seeing(Fleet(), look(card(free=3500))))
    known = seeing(known, look(card(free=1500), at=5.0))
    asked_for = changed("auto", **FALLS)

    asked, known = decide(asked_for, known, 5.0)
    assert reconcile(asked, known, 5.0, POLICY) == [Drain("v1.1", "replaced")]

    known = issue(known, Drain("v1.1", "replaced"), 5.0)
    assert where(decide(asked_for, known, 6.0)[0], "v1") == ["cuda:0!"]
    known = apply(known, Exited("v1.1", 0, "done"), 6.0, POLICY)
    for at in (6.5, 7.0):  # the driver has not returned the memory yet
        known = seeing(known, look(card(free=1500), at=at))
        asked, known = decide(asked_for, known, at)
        assert where(asked, "v1") == ["cuda:0!"]
        assert reconcile(asked, known, at, POLICY) == []
    known = seeing(known, look(card(free=3500), at=7.6))
    asked, known = decide(asked_for, known, 7.6)

    assert reconcile(asked, known, 7.6, POLICY) == [Start("v1.2", asked.specs("v1")[0])]
    assert asked.versions["v1"].degraded is None


def test_a_replacement_that_insists_on_overlap_says_what_it_lacks() -> None:
    known = running(wanted(wishing()), seeing(Fleet(), look(card(free=3000))))
    known = seeing(known, look(card(free=1000), at=5.0))

    asked, known = decide(changed("overlap"), known, 5.0)

    assert reconcile(asked, known, 5.0, POLICY) == []
    assert asked.versions["v1"].problem == (
        "gpu 0 has 1000 MB free, needs 2000 beside the process it replaces; set replace: stop_first"
    )


def test_memory_taken_by_others_meanwhile_sends_a_restart_to_the_cpu() -> None:
    alone = wanted(wishing(**FALLS))
    known = running(alone, seeing(Fleet(), look(card(free=8000))))
    known = apply(known, Exited("v1.1", -11, "killed"), 2.0, POLICY)
    known = seeing(known, look(card(free=3000), at=9.0))

    asked, _ = decide(alone, known, 9.0)

    assert where(asked, "v1") == ["cpu"]


# --- reloads ------------------------------------------------------------------------------------


def test_a_plan_keeps_a_version_whose_place_does_not_change() -> None:
    known = running(wanted(wishing()), seeing(Fleet(), look(card(free=8000))))

    found = plan(wanted(wishing(), wishing("v2")), known)

    assert (found.kept, found.started) == (("v1",), ("v2",))


@pytest.mark.parametrize(
    ("before", "after"), [("auto", "cpu"), ("cpu", "auto"), ("cpu", "cuda:0"), ("cuda:0", "cpu")]
)
def test_another_device_in_the_config_is_a_replacement(before: str, after: str) -> None:
    known = running(wanted(wishing(device=before)), seeing(Fleet(), look(card(free=8000))))
    new = wanted(wishing(device=after))

    assert plan(new, known).started == ("v1",)
    known = seeing(known, look(card(free=8000), at=4.0))
    asked, known = decide(new, known, 4.0)

    assert where(asked, "v1") == [{"cpu": "cpu"}.get(after, "cuda:0")]
    assert [type(a) for a in reconcile(asked, known, 4.0, POLICY)] == [Start]


def test_a_version_whose_files_are_gone_keeps_its_place() -> None:
    known = running(wanted(wishing()), seeing(Fleet(), look(card(free=8000))))
    broken = replace(wishing(), spec=None, problem="no model files")

    asked, after = decide(wanted(broken), known, 3.0)

    assert asked.versions["v1"].problem == "no model files"
    assert after.devices.placement("v1").seats == known.devices.placement("v1").seats
