"""Which process is out of time, and when to look again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.lifecycle import issue
from rerank_server.core.reconcile import next_deadline, reconcile
from rerank_server.core.types import Fleet, Instance, Kill, State, Stop
from rerank_server.core.wanted import NOTHING
from tests.core.build import ONE_SLOT, POLICY, failure, fleet, version, wanted, worker

V1, V2 = version(), version("v2")


def draining(*, is_drained: bool) -> Instance:
    return replace(worker(state=State.DRAINING), is_drained=is_drained)


def test_a_start_that_takes_too_long_is_killed_and_counts() -> None:
    starting = fleet(worker(state=State.STARTING))

    assert reconcile(wanted(V1), starting, 29.9, POLICY) == []
    assert reconcile(wanted(V1), starting, 30.0, POLICY) == [
        Kill("v1.1", "not ready within 30 s", is_failure=True)
    ]


def test_in_starting_only_the_start_deadline_counts() -> None:
    silent = replace(worker(state=State.STARTING), batch_started_at=0.0)

    assert reconcile(wanted(V1), fleet(silent), 29.0, POLICY) == []


def test_a_lost_beat_is_a_hang() -> None:
    assert reconcile(wanted(V1), fleet(worker()), 4.9, POLICY) == []
    assert reconcile(wanted(V1), fleet(worker()), 5.0, POLICY) == [
        Kill("v1.1", "hung: no sign of life for 5 s", is_failure=True)
    ]


@pytest.mark.parametrize(("now", "is_killed"), [(19.9, False), (20.0, True)])
def test_a_batch_without_end_is_another_hang(now: float, is_killed: bool) -> None:
    busy = replace(worker(), beat_at=now, batch_started_at=0.0)

    actions = reconcile(wanted(V1), fleet(busy), now, POLICY)

    kill = Kill("v1.1", "hung: one batch ran longer than 20 s", is_failure=True)
    assert actions == ([kill] if is_killed else [])


def test_a_hung_worker_of_a_version_taken_out_is_killed_after_the_usual_limit() -> None:
    busy = replace(worker(), beat_at=120.0, batch_started_at=0.0)

    actions = reconcile(wanted(V2, default="v2"), fleet(busy), 120.0, POLICY)

    assert actions[0] == Kill("v1.1", "hung: one batch ran longer than 120 s", is_failure=True)


def test_a_worker_still_starting_of_a_version_taken_out_is_killed_without_blame() -> None:
    actions = reconcile(wanted(V2), fleet(worker(state=State.STARTING)), 1.0, ONE_SLOT)

    assert actions == [Kill("v1.1", "no longer wanted", is_failure=False)]


def test_nothing_in_flight_ends_a_drain() -> None:
    leaving = fleet(worker("v2"), draining(is_drained=True))

    assert reconcile(wanted(V2), leaving, 0.0, POLICY) == [Stop("v1.1")]


def test_the_drain_deadline_ends_a_drain() -> None:
    patient = replace(POLICY, beat_timeout_s=1000.0)
    leaving = fleet(worker("v2"), draining(is_drained=False))

    assert reconcile(wanted(V2), leaving, 64.9, patient) == []
    assert reconcile(wanted(V2), leaving, 65.0, patient) == [Stop("v1.1")]


def test_a_worker_that_hangs_while_it_drains_is_killed_without_blame() -> None:
    leaving = fleet(draining(is_drained=False))

    assert reconcile(NOTHING, leaving, 5.0, POLICY) == [
        Kill("v1.1", "hung: no sign of life for 5 s", is_failure=False)
    ]


def test_a_worker_that_does_not_exit_is_killed_after_the_grace_time() -> None:
    stopping = fleet(worker(state=State.STOPPING))

    assert reconcile(NOTHING, stopping, 9.9, POLICY) == []
    assert reconcile(NOTHING, stopping, 10.0, POLICY) == [
        Kill("v1.1", "did not exit when told to", is_failure=False)
    ]


def test_a_killed_worker_is_killed_once() -> None:
    killed = issue(fleet(worker()), Kill("v1.1", "hung", is_failure=True), 5.0)

    assert reconcile(wanted(V1), killed, 1e6, POLICY) == []


def test_each_process_gets_at_most_one_action_at_a_time() -> None:
    late = fleet(worker(state=State.STARTING, files="old"))

    actions = reconcile(wanted(V1), late, 1e6, ONE_SLOT)

    assert actions == [Kill("v1.1", "not ready within 30 s", is_failure=True)]


@pytest.mark.parametrize(
    ("at_rest", "deadline"),
    [
        (fleet(), None),
        (fleet(worker(state=State.STARTING)), 30.0),
        (fleet(worker()), 5.0),
        (fleet(replace(worker(), beat_at=18.0, batch_started_at=0.0)), 20.0),
        (fleet(replace(worker(state=State.DRAINING), beat_at=100.0)), 65.0),
        (fleet(worker(state=State.STOPPING)), 10.0),
        (fleet(replace(worker(state=State.STOPPING), is_killed=True)), None),
        (fleet(failures=(failure(retry_at=7.0),)), 7.0),
        (fleet(failures=(failure(retry_at=None),)), None),
        (fleet(worker(), failures=(failure(retry_at=1.0),)), 5.0),
        (fleet(worker(), failures=(failure("v9", retry_at=1.0),)), 5.0),
    ],
    ids=[
        "nothing",
        "start",
        "beat",
        "batch",
        "drain",
        "grace",
        "killed",
        "backoff",
        "failed",
        "backoff of one that runs again",
        "backoff of one taken out",
    ],
)
def test_the_loop_sleeps_until_the_next_deadline(at_rest: Fleet, deadline: float | None) -> None:
    asked = wanted(V1) if at_rest.slots else NOTHING

    assert next_deadline(asked, at_rest, POLICY) == deadline


def test_the_loop_does_not_wake_for_a_retry_that_has_to_wait_for_a_slot() -> None:
    full = fleet(worker(state=State.STARTING), failures=(failure("v2", retry_at=1.0),))

    assert next_deadline(wanted(V1, V2), full, ONE_SLOT) == 30.0
