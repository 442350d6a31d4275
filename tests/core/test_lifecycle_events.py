"""What is heard of a process, and what it was told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.lifecycle import apply, issue, next_id
from rerank_server.core.types import (
    Beaten,
    BecameReady,
    CameLate,
    Drain,
    Drained,
    Event,
    Exited,
    Farewell,
    Fleet,
    Instance,
    Kill,
    SaidFarewell,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
)
from tests.core.build import failure, fleet, spec, states, worker
from tests.core.failures import POLICY


def only(fleet: Fleet) -> Instance:
    (instance,) = fleet.instances()
    return instance


# --- events -------------------------------------------------------------------------------------


def test_a_spawned_process_has_a_pid_and_counts_as_alive() -> None:
    starting = fleet(worker(state=State.STARTING))

    after = only(apply(starting, Spawned("v1.1", 4711), 2.0, POLICY))

    assert (after.pid, after.beat_at, after.state) == (4711, 2.0, State.STARTING)


def test_a_starting_worker_that_is_ready_runs() -> None:
    starting = fleet(worker(state=State.STARTING))

    after = only(apply(starting, BecameReady("v1.1", {"engine": "torch"}), 9.0, POLICY))

    assert (after.state, after.since, after.beat_at, after.ready_at) == (State.RUNNING, 9, 9, 9)
    assert after.info == {"engine": "torch"}
    assert after.spawned_at == 0.0


def test_the_warm_up_pass_is_no_batch_of_the_worker_that_became_ready() -> None:
    warming = replace(worker(state=State.STARTING), batch_started_at=1.0)

    after = only(apply(fleet(warming), BecameReady("v1.1", {}), 200.0, POLICY))

    assert after.batch_started_at is None


@pytest.mark.parametrize("state", [State.RUNNING, State.DRAINING, State.STOPPING])
def test_ready_changes_nothing_in_any_other_state(state: State) -> None:
    before = fleet(worker(state=state))

    assert apply(before, BecameReady("v1.1", {}), 9.0, POLICY) == before


def test_a_beat_tells_what_is_in_flight_and_since_when_a_batch_runs() -> None:
    after = only(apply(fleet(worker()), Beaten("v1.1", 7, 3.5), 4.0, POLICY))

    assert (after.beat_at, after.in_flight, after.batch_started_at) == (4.0, 7, 3.5)


def test_a_drained_worker_has_nothing_in_flight() -> None:
    draining = replace(worker(state=State.DRAINING), in_flight=3)

    after = only(apply(fleet(draining), Drained("v1.1"), 4.0, POLICY))

    assert (after.is_drained, after.in_flight) == (True, 0)


@pytest.mark.parametrize(
    "event",
    [
        Spawned("v1.9", 1),
        SpawnFailed("v1.9", "no such file"),
        BecameReady("v1.9", {}),
        Beaten("v1.9", 0, None),
        Drained("v1.9"),
        SaidFarewell("v1.9", Farewell("bad weights", would_fail_again=True)),
        Exited("v1.9", 1, "exited with code 1"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_is_heard_of_a_process_that_is_gone_changes_nothing(event: Event) -> None:
    before = fleet(worker(), failures=(failure("v2"),))

    assert apply(before, event, 5.0, POLICY) == before


# --- the supervisor's own lateness --------------------------------------------------------------


def test_every_deadline_moves_by_what_the_supervisor_was_late() -> None:
    busy = replace(worker(at=10.0), batch_started_at=11.0)
    idle = worker("v2", State.STARTING, at=5.0)

    after = apply(fleet(busy, idle, failures=(failure(),)), CameLate(30.0), 60.0, POLICY)

    moved = after.slot("v1").instances[0]
    assert (moved.since, moved.spawned_at, moved.beat_at) == (40.0, 40.0, 40.0)
    assert (moved.ready_at, moved.batch_started_at) == (40.0, 41.0)
    assert after.slot("v1").failed_at == (30.0,)
    other = after.slot("v2").instances[0]
    assert (other.since, other.ready_at, other.batch_started_at) == (35.0, None, None)


# --- actions ------------------------------------------------------------------------------------


def test_a_start_adds_a_process_under_an_id_never_used_before() -> None:
    before = fleet(worker(number=4))
    gone = apply(before, Exited("v1.4", -9, "killed"), 1.0, POLICY)

    after = issue(gone, Start(next_id(gone.slot("v1")), spec()), 2.0)

    assert states(after) == {"v1.5": State.STARTING}
    assert next_id(after.slot("v1")) == "v1.6"
    assert (only(after).since, only(after).spawned_at, only(after).beat_at) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("before", "restarts"),
    [
        (fleet(), 0),
        (fleet(failures=(failure(),)), 1),
        (fleet(failures=(failure(files="other"),)), 0),
    ],
    ids=["first", "after a failure", "another spec"],
)
def test_only_a_start_that_follows_a_failure_counts_as_a_restart(
    before: Fleet, restarts: int
) -> None:
    after = issue(before, Start("v1.1", spec()), 1.0)

    assert after.slot("v1").restarts == restarts


def test_what_was_told_to_a_process_is_its_new_state() -> None:
    before = fleet(worker())

    drained = only(issue(before, Drain("v1.1", "replaced"), 3.0))
    stopped = only(issue(before, Stop("v1.1"), 3.0))
    killed = only(issue(before, Kill("v1.1", "hung", is_failure=True), 3.0))

    assert (drained.state, drained.since) == (State.DRAINING, 3.0)
    assert (stopped.state, stopped.since, stopped.is_killed) == (State.STOPPING, 3.0, False)
    assert (killed.state, killed.since, killed.is_killed) == (State.STOPPING, 3.0, True)
    assert (drained.doom, stopped.doom, killed.doom) == (None, None, "hung")


def test_other_processes_of_the_version_are_left_alone() -> None:
    before = fleet(worker(), worker(number=2, files="b"))

    after = issue(before, Drain("v1.1", "replaced"), 3.0)

    assert states(after) == {"v1.1": State.DRAINING, "v1.2": State.RUNNING}
