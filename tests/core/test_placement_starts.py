"""When a version may start on its card."""

from __future__ import annotations

from dataclasses import replace

from rerank_server.core.devices import Devices, GpusSeen, Seat, Sight
from rerank_server.core.lifecycle import apply, forget, issue
from rerank_server.core.plan import verdict
from rerank_server.core.reconcile import reconcile
from rerank_server.core.routing import FallbackReason
from rerank_server.core.types import BecameReady, CameLate, Drain, Exited, Fleet
from rerank_server.core.wanted import Degraded
from tests.core.build import wanted
from tests.core.cards import FALLS, PATIENT, card, decide, look, running, seeing, where, wishing


def test_one_version_after_another_loads_on_a_card() -> None:
    asked, before = decide(
        wanted(wishing("v1"), wishing("v2")), seeing(Fleet(), look(card(free=8000)))
    )
    assert (where(asked, "v1"), where(asked, "v2")) == (["cuda:0"], ["cuda:0"])

    actions = reconcile(asked, before, 0.0, PATIENT)

    assert [a.instance for a in actions] == ["v1.1"]


def test_a_version_waits_until_the_one_before_it_is_seen_on_the_card() -> None:
    both = wanted(wishing("v1"), wishing("v2"))
    asked, before = decide(both, seeing(Fleet(), look(card(free=8000))))
    for action in reconcile(asked, before, 0.0, PATIENT):
        before = issue(before, action, 0.0)
    before = apply(before, BecameReady("v1.1", {}), 1.0, PATIENT)

    assert where(decide(both, before, 1.0)[0], "v2") == ["cuda:0!"]
    before = seeing(before, look(card(free=6000), at=1.5))
    assert where(decide(both, before, 1.5)[0], "v2") == ["cuda:0"]


def test_what_does_not_fit_beside_a_load_waits_for_its_end_before_it_is_given_up() -> None:
    both = wanted(wishing("v1"), wishing("v2"))
    asked, before = decide(both, seeing(Fleet(), look(card(free=3900))))
    for action in reconcile(asked, before, 0.0, PATIENT):
        before = issue(before, action, 0.0)
    before = seeing(before, look(card(free=3000), at=1.0))

    asked, before = decide(both, before, 1.0)

    assert asked.versions["v2"].waits == "memory of a GPU is about to be returned or taken"
    assert asked.versions["v2"].problem is None
    assert verdict(asked, before) is None


def test_a_version_that_waits_for_a_device_keeps_the_count_of_its_failures() -> None:
    both = wanted(wishing("v1"), wishing("v2"))
    known = running(both, seeing(Fleet(), look(card(free=8000))))
    known = apply(known, Exited("v2.1", -11, "killed"), 3.0, PATIENT)
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

    after = apply(waiting, GpusSeen(Sight(9.0, None, trouble="busy")), 9.0, PATIENT)

    assert after.devices.sight == Sight(1.0, None, trouble="busy")


def test_times_of_a_replica_without_a_seat_move_with_the_clock_too() -> None:
    devices = Devices(sight=look(card(free=1), at=5.0)).with_seat("v1", 1, Seat(since=3.0))

    late = apply(Fleet(devices=devices), CameLate(2.0), 9.0, PATIENT).devices

    assert late.sight.at == 7.0
    assert late.placement("v1").seats == (None, Seat(since=5.0, retry_at=2.0))
    assert [replica for _, replica, _ in late.seats()] == [1]


def test_a_silent_driver_does_not_hold_a_restart_for_ever() -> None:
    alone = wanted(wishing(device="cuda:0"))
    known = running(alone, seeing(Fleet(), look(card(free=8000))))
    crashed = apply(known, Exited("v1.1", -11, "killed"), 2.0, PATIENT)

    assert where(decide(alone, crashed, 3.0)[0], "v1") == ["cuda:0!"]
    assert where(decide(alone, crashed, 30.0)[0], "v1") == ["cuda:0"]
