from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core import wire
from rerank_server.core.lifecycle import apply, forget, issue, next_id
from rerank_server.core.types import (
    Beaten,
    BecameReady,
    CameLate,
    Drain,
    Drained,
    Event,
    Exited,
    Failure,
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
    WasReset,
)
from rerank_server.core.wanted import Policy, Wanted
from tests.core.build import failure, fleet, spec, states, version, wanted, worker

POLICY = Policy(failure_limit=3, failure_window_s=600.0, stable_s=60.0)
SEGFAULT = Exited("v1.1", -11, "killed by SIGSEGV: Fatal Python error")


def only(fleet: Fleet) -> Instance:
    (instance,) = fleet.instances()
    return instance


def failure_of(fleet: Fleet) -> Failure:
    found = fleet.slot("v1").failure
    assert found is not None
    return found


def is_waiting(fleet: Fleet, now: float) -> bool:
    retry_at = failure_of(fleet).retry_at
    return retry_at is not None and retry_at > now


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


# --- ends that count ----------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
@pytest.mark.parametrize(
    "event",
    [
        SEGFAULT,
        Exited("v1.1", wire.EXIT_DONE, "exited with code 0"),
        Exited("v1.1", wire.EXIT_CRASHED, "exited with code 1"),
        Exited("v1.1", wire.EXIT_NO_DEVICE_MEMORY, "exited with code 4"),
        SpawnFailed("v1.1", "/usr/bin/python3: no such file"),
    ],
    ids=["signal", "exit 0", "exit 1", "exit 4", "no spawn"],
)
def test_a_crash_leaves_the_version_in_backoff(state: State, event: Event) -> None:
    after = apply(fleet(worker(state=state)), event, 5.0, POLICY)

    assert after.instances() == ()
    assert is_waiting(after, 5.0)
    assert failure_of(after).attempt == 1


def test_a_crash_is_told_with_what_the_kernel_and_stderr_said() -> None:
    after = apply(fleet(worker()), SEGFAULT, 5.0, POLICY)

    assert failure_of(after).reason == "killed by SIGSEGV: Fatal Python error"


def test_a_process_that_cannot_be_spawned_is_told_as_such() -> None:
    after = apply(fleet(worker(state=State.STARTING)), SpawnFailed("v1.1", "no"), 5.0, POLICY)

    assert failure_of(after).reason == "could not be spawned: no"


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_a_worker_that_would_fail_again_leaves_its_version_failed(state: State) -> None:
    event = Exited("v1.1", wire.EXIT_WOULD_FAIL_AGAIN, "exited with code 3: No module named x")

    after = apply(fleet(worker(state=state)), event, 5.0, POLICY)

    assert failure_of(after).retry_at is None
    assert failure_of(after).reason == "exited with code 3: No module named x"


@pytest.mark.parametrize(("would_fail_again", "is_final"), [(True, True), (False, False)])
def test_a_farewell_is_kept_with_the_last_stderr_lines(
    would_fail_again: bool, is_final: bool
) -> None:
    farewell = Farewell("rerank.py: ValueError: no head", would_fail_again)
    starting = fleet(worker(state=State.STARTING))

    said = apply(starting, SaidFarewell("v1.1", farewell), 4.0, POLICY)
    after = apply(said, Exited("v1.1", 3, "exited with code 3: Traceback"), 5.0, POLICY)

    assert (failure_of(after).retry_at is None) is is_final
    assert failure_of(after).reason == (
        "rerank.py: ValueError: no head\nexited with code 3: Traceback"
    )


def test_a_farewell_outranks_the_kill_that_came_after_it() -> None:
    farewell = Farewell("no module named x", would_fail_again=True)
    doomed = replace(worker(state=State.STOPPING), doom="not ready within 30 s", farewell=farewell)

    after = apply(fleet(doomed), Exited("v1.1", -9, "killed by SIGKILL"), 5.0, POLICY)

    assert failure_of(after).retry_at is None
    assert failure_of(after).reason == "no module named x\nkilled by SIGKILL"


@pytest.mark.parametrize("doom", ["hung: no sign of life for 5 s", "not ready within 30 s"])
def test_a_start_deadline_or_a_hang_leaves_the_version_in_backoff(doom: str) -> None:
    doomed = issue(fleet(worker()), Kill("v1.1", doom, is_failure=True), 4.0)

    after = apply(doomed, Exited("v1.1", -9, "killed by SIGKILL"), 5.0, POLICY)

    assert is_waiting(after, 5.0)
    assert failure_of(after).reason == f"{doom}\nkilled by SIGKILL"


@pytest.mark.parametrize("state", [State.DRAINING, State.STOPPING])
@pytest.mark.parametrize("code", [0, 1, wire.EXIT_WOULD_FAIL_AGAIN, -9])
def test_a_stopping_process_that_is_gone_is_gone_without_a_trace(state: State, code: int) -> None:
    farewell = Farewell("lost my mind", would_fail_again=True)
    stopping = replace(worker(state=state), farewell=farewell)

    after = apply(fleet(stopping), Exited("v1.1", code, "whatever"), 5.0, POLICY)

    assert after.instances() == ()
    assert after.slot("v1").failure is None


def test_a_kill_that_is_nobodys_fault_is_not_counted() -> None:
    told = issue(fleet(worker()), Kill("v1.1", "no longer wanted", is_failure=False), 4.0)

    after = apply(told, Exited("v1.1", -9, "killed by SIGKILL"), 5.0, POLICY)

    assert after.slot("v1").failure is None


# --- the memory of failures ---------------------------------------------------------------------


def crash(fleet: Fleet, at: float) -> Fleet:
    """Start v1 anew and let it crash at once."""
    slot = fleet.slot("v1")
    started = issue(fleet, Start(next_id(slot), spec()), at)
    return apply(started, Exited(next_id(slot), -11, "killed by SIGSEGV"), at, POLICY)


def test_backoff_doubles_from_failure_to_failure() -> None:
    policy = replace(POLICY, failure_limit=100, backoff_base_s=1.0, backoff_cap_s=60.0)
    after, waits = fleet(), []
    for _ in range(8):
        slot = after.slot("v1")
        after = issue(after, Start(next_id(slot), spec()), 10.0)
        after = apply(after, Exited(next_id(slot), -11, "crash"), 10.0, policy)
        waits.append((failure_of(after).retry_at or 0.0) - 10.0)

    assert failure_of(after).attempt == 8
    expected = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert all(0.75 * e <= wait <= e for wait, e in zip(waits, expected, strict=True))


def test_too_many_failures_in_a_window_make_a_version_failed() -> None:
    after = crash(crash(fleet(), 0.0), 10.0)
    assert is_waiting(after, 10.0)

    after = crash(after, 20.0)

    assert failure_of(after).retry_at is None
    assert failure_of(after).reason == "failed 3 times in 600 s; last: killed by SIGSEGV"


def test_failures_before_the_window_are_not_counted() -> None:
    after = crash(crash(fleet(), 0.0), 500.0)

    after = crash(after, 600.0)

    assert is_waiting(after, 600.0)
    assert after.slot("v1").failed_at == (500.0, 600.0)


def ran_for(seconds: float) -> Fleet:
    """Return a fleet whose v1 failed twice before it ran well for so long."""
    before = crash(crash(fleet(), 0.0), 1.0)
    running = replace(worker(number=3, at=10.0), beat_at=10.0 + seconds)
    slot = replace(before.slot("v1"), instances=(running,), serial=3)
    return replace(before, slots={"v1": slot})


@pytest.mark.parametrize(("seconds", "attempt"), [(59.9, 3), (60.0, 1)])
def test_restart_counters_reset_only_after_a_stable_period(seconds: float, attempt: int) -> None:
    event = Exited("v1.3", -11, "killed by SIGSEGV")

    after = apply(ran_for(seconds), event, 10.0 + seconds, POLICY)

    assert failure_of(after).attempt == attempt
    assert is_waiting(after, 10.0 + seconds) is (attempt == 1)


def test_a_hang_after_a_stable_period_starts_counting_anew() -> None:
    hung = issue(ran_for(3600.0), Kill("v1.3", "hung", is_failure=True), 3615.0)

    after = apply(hung, Exited("v1.3", -9, "killed by SIGKILL"), 3616.0, POLICY)

    assert failure_of(after).attempt == 1


def test_a_batch_that_never_ends_is_no_stable_period() -> None:
    before = ran_for(3600.0)
    stuck = apply(before, Beaten("v1.3", 1, batch_started_at=12.0), 3600.0, POLICY)
    hung = issue(stuck, Kill("v1.3", "hung", is_failure=True), 3615.0)

    after = apply(hung, Exited("v1.3", -9, "killed by SIGKILL"), 3616.0, POLICY)

    assert failure_of(after).attempt == 3


def test_another_spec_starts_counting_anew() -> None:
    before = crash(crash(fleet(), 0.0), 1.0)
    changed = issue(before, Start("v1.3", spec(files="b")), 2.0)

    after = apply(changed, Exited("v1.3", -11, "killed by SIGSEGV"), 3.0, POLICY)

    assert (failure_of(after).attempt, after.slot("v1").failed_at) == (1, (3.0,))


def test_a_crash_of_the_old_process_does_not_forgive_its_failed_successor() -> None:
    before = fleet(worker(files="old"), failures=(failure(files="new"),), failed_at=20.0)

    after = apply(before, Exited("v1.1", -11, "killed by SIGSEGV"), 30.0, POLICY)

    assert after.instances() == ()
    assert failure_of(after) == failure(files="new")


def test_a_process_started_when_its_predecessor_failed_is_counted() -> None:
    before = fleet(worker(files="new", at=20.0), failures=(failure(files="old"),), failed_at=20.0)

    after = apply(before, Exited("v1.1", -11, "killed by SIGSEGV"), 21.0, POLICY)

    assert failure_of(after).spec == spec(files="new")


def test_a_reset_forgives_a_failed_version() -> None:
    after = apply(crash(fleet(), 0.0), WasReset("v1"), 5.0, POLICY)

    assert after.slot("v1").failure is None
    assert after.slot("v1").failed_at == ()


@pytest.mark.parametrize(
    ("now_wanted", "is_kept"),
    [
        (wanted(version()), True),
        (wanted(version(files="repaired")), False),
        (wanted(version(enabled=False)), False),
        (wanted(version("v2")), False),
    ],
    ids=["as before", "spec changed", "disabled", "taken out"],
)
def test_a_failure_is_gone_when_the_spec_changed_or_is_no_longer_wanted(
    now_wanted: Wanted, is_kept: bool
) -> None:
    before = fleet(worker("v2"), failures=(failure(),))

    after = forget(now_wanted, before)

    assert (after.slot("v1").failure is not None) is is_kept
    assert (after.slot("v1").failed_at != ()) is is_kept
    assert after.instances() == before.instances()


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
