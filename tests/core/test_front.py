from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.front import (
    Front,
    FrontAction,
    FrontEvent,
    FrontExited,
    FrontInstance,
    FrontPolicy,
    FrontReady,
    FrontSpawned,
    FrontSpec,
    FrontState,
    KillFront,
    RetireFront,
    StartFront,
    StopFront,
    apply_front,
    issue_front,
    next_front_deadline,
    reconcile_front,
)
from rerank_server.core.types import CameLate

SPEC = FrontSpec(
    host="127.0.0.1",
    port=8000,
    processes=1,
    log_format="console",
    log_level="info",
)
POLICY = FrontPolicy(stop_timeout_s=45.0, keep_alive_s=30.0)
MORE = replace(SPEC, processes=4)
LATE = "the gateway did not boot within 30 s"


def gateway(
    state: FrontState, spec: FrontSpec = SPEC, generation: int = 1, at: float = 0.0
) -> FrontInstance:
    return FrontInstance(generation, spec, state, at, pid=4000 + generation)


def front(*instances: FrontInstance) -> Front:
    return Front(instances, serial=max((i.generation for i in instances), default=0))


def due(wanted: FrontSpec | None, front: Front, now: float = 0.0) -> list[FrontAction]:
    return reconcile_front(wanted, front, now, POLICY)


def carry_on(wanted: FrontSpec | None, front: Front, now: float) -> Front:
    """Decide and issue until nothing is new, as the supervisor's loop does."""
    for _ in range(20):
        actions = due(wanted, front, now)
        if not actions:
            return front
        for action in actions:
            front = issue_front(front, action, now)
    raise AssertionError("never comes to rest")


# --- what is due --------------------------------------------------------------------------------


def test_a_wanted_gateway_with_none_running_is_started() -> None:
    assert due(SPEC, Front()) == [StartFront(1, SPEC)]


@pytest.mark.parametrize(
    ("state", "now", "expected"),
    [
        (FrontState.STARTING, 29.9, []),
        (FrontState.STARTING, 30.0, [KillFront(1, LATE)]),
        (FrontState.RUNNING, 1e6, []),
        (FrontState.LAME, 30.9, [StartFront(2, SPEC)]),
        (FrontState.LAME, 31.0, [StopFront(1), StartFront(2, SPEC)]),
        (FrontState.STOPPING, 44.9, [StartFront(2, SPEC)]),
        (FrontState.STOPPING, 45.0, [KillFront(1), StartFront(2, SPEC)]),
    ],
)
def test_each_state_of_a_wanted_gateway_has_its_deadline(
    state: FrontState, now: float, expected: list[FrontAction]
) -> None:
    assert due(SPEC, front(gateway(state)), now) == expected


@pytest.mark.parametrize(
    ("state", "now", "expected"),
    [
        (FrontState.STARTING, 0.0, [KillFront(1)]),
        (FrontState.RUNNING, 0.0, [StopFront(1)]),
        (FrontState.LAME, 0.0, [StopFront(1)]),
        (FrontState.STOPPING, 0.0, []),
        (FrontState.STOPPING, 45.0, [KillFront(1)]),
    ],
)
def test_a_shutdown_ends_the_gateway_whatever_its_state(
    state: FrontState, now: float, expected: list[FrontAction]
) -> None:
    assert due(None, front(gateway(state)), now) == expected


@pytest.mark.parametrize(
    ("successor", "expected"),
    [
        ([], [StartFront(2, MORE)]),
        ([gateway(FrontState.STARTING, MORE, 2)], []),
        ([gateway(FrontState.RUNNING, MORE, 2)], [RetireFront(1)]),
        ([gateway(FrontState.LAME, MORE, 2)], [StartFront(3, MORE)]),
    ],
    ids=["none", "starts", "runs", "already retired"],
)
def test_a_changed_gateway_is_ready_before_the_old_one_goes(
    successor: list[FrontInstance], expected: list[FrontAction]
) -> None:
    assert due(MORE, front(gateway(FrontState.RUNNING), *successor)) == expected


def test_a_gateway_that_boots_with_the_wrong_spec_is_killed_without_blame() -> None:
    assert due(MORE, front(gateway(FrontState.STARTING))) == [KillFront(1), StartFront(2, MORE)]


def test_a_lame_gateway_outlives_its_keep_alive_time() -> None:
    brief = replace(POLICY, keep_alive_s=2.0)
    both = front(gateway(FrontState.LAME), gateway(FrontState.RUNNING, MORE, 2))

    assert reconcile_front(MORE, both, 2.9, brief) == []
    assert reconcile_front(MORE, both, 3.0, brief) == [StopFront(1)]


def test_a_killed_gateway_is_killed_once() -> None:
    killed = issue_front(front(gateway(FrontState.STOPPING)), KillFront(1), 45.0)

    assert due(None, killed, 1e6) == []


# --- boots that fail ----------------------------------------------------------------------------


def crash(front: Front, generation: int, now: float) -> Front:
    return apply_front(front, FrontExited(generation, "exited with code 1"), now)


def test_a_gateway_that_cannot_boot_leaves_the_old_one_serving() -> None:
    booting = carry_on(MORE, front(gateway(FrontState.RUNNING)), 1.0)

    failed = crash(booting, 2, 2.0)

    assert due(MORE, failed, 1e6) == []
    assert failed.published == 1
    assert failed.reason == "exited with code 1"


def test_a_replacement_that_cannot_boot_is_tried_again_when_the_spec_changes() -> None:
    failed = crash(carry_on(MORE, front(gateway(FrontState.RUNNING)), 1.0), 2, 2.0)
    repaired = replace(MORE, processes=2)

    assert due(repaired, failed, 2.0) == [StartFront(3, repaired)]


def test_a_replacement_that_cannot_boot_is_tried_again_when_nothing_else_serves() -> None:
    failed = crash(carry_on(MORE, front(gateway(FrontState.RUNNING)), 1.0), 2, 2.0)

    alone = crash(failed, 1, 100.0)

    assert due(MORE, alone, 100.0) == [StartFront(3, MORE)]


def test_a_gateway_that_hangs_while_it_boots_is_killed_and_counts() -> None:
    booting = carry_on(MORE, front(gateway(FrontState.RUNNING)), 0.0)

    killed = carry_on(MORE, booting, 30.0)
    assert due(MORE, killed, 30.0) == []
    failed = crash(killed, 2, 31.0)

    assert due(MORE, failed, 1e6) == []
    assert (failed.reason, failed.restarts, failed.failed_spec) == (LATE, 1, MORE)


def test_a_hung_boot_is_gone_before_the_next_try() -> None:
    killed = carry_on(SPEC, front(gateway(FrontState.STARTING)), 30.0)
    assert due(SPEC, killed, 30.0) == []

    gone = crash(killed, 1, 31.0)

    assert due(SPEC, gone, 31.0) == [StartFront(2, SPEC)]


def test_a_gateway_that_dies_is_back_at_once_and_then_waits_longer_and_longer() -> None:
    now_front, waits = front(gateway(FrontState.RUNNING)), []
    for _ in range(9):
        now_front = crash(now_front, now_front.serial, 5.0)
        waits.append(now_front.retry_at - 5.0)
        now_front = issue_front(now_front, StartFront(now_front.serial + 1, SPEC), 5.0)

    full = [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert all(0.75 * f <= wait <= f for wait, f in zip(waits, full, strict=True))
    assert now_front.restarts == 9


def test_a_waiting_gateway_is_not_started_before_its_time() -> None:
    waiting = replace(front(), retry_at=7.0)

    assert due(SPEC, waiting, 6.9) == []
    assert due(SPEC, waiting, 7.0) == [StartFront(1, SPEC)]


@pytest.mark.parametrize(("ran_s", "attempt"), [(29.9, 5), (30.0, 0)])
def test_failures_are_forgotten_only_after_a_stable_period(ran_s: float, attempt: int) -> None:
    running = replace(front(gateway(FrontState.RUNNING, at=10.0)), attempt=4)

    after = crash(running, 1, 10.0 + ran_s)

    assert after.attempt == attempt


@pytest.mark.parametrize("state", [FrontState.LAME, FrontState.STOPPING])
def test_a_gateway_that_was_told_to_go_is_gone_without_a_trace(state: FrontState) -> None:
    after = crash(front(gateway(state)), 1, 5.0)

    assert after == Front(serial=1)


# --- events -------------------------------------------------------------------------------------


def test_a_gateway_that_is_ready_is_published_and_its_predecessor_lame() -> None:
    both = front(gateway(FrontState.RUNNING), gateway(FrontState.STARTING, MORE, 2))
    failed_before = replace(both, failed_spec=MORE, reason="exited with code 1")

    ready = apply_front(failed_before, FrontReady(2), 3.0)
    after = carry_on(MORE, ready, 3.0)

    assert after.published == 2
    assert [i.state for i in after.instances] == [FrontState.LAME, FrontState.RUNNING]
    assert (after.failed_spec, after.reason) == (None, None)


def test_a_spawned_gateway_has_a_pid() -> None:
    after = apply_front(front(gateway(FrontState.STARTING)), FrontSpawned(1, 77), 0.0)

    assert after.instances[0].pid == 77


@pytest.mark.parametrize("event", [FrontSpawned(9, 1), FrontReady(9), FrontExited(9, "gone")])
def test_what_is_heard_of_a_generation_that_is_gone_changes_nothing(event: FrontEvent) -> None:
    before = front(gateway(FrontState.STARTING))

    assert apply_front(before, event, 3.0) == before


@pytest.mark.parametrize("state", [FrontState.RUNNING, FrontState.LAME, FrontState.STOPPING])
def test_ready_changes_nothing_in_any_other_state(state: FrontState) -> None:
    before = front(gateway(state))

    assert apply_front(before, FrontReady(1), 3.0) == before


def test_every_deadline_moves_by_what_the_supervisor_was_late() -> None:
    booting = front(gateway(FrontState.STARTING))

    after = apply_front(booting, CameLate(30.0), 31.0)

    assert due(SPEC, after, 59.9) == []
    assert due(SPEC, after, 60.0) == [KillFront(1, LATE)]


def test_nothing_is_published_while_nothing_serves() -> None:
    assert front(gateway(FrontState.STARTING)).published == 0


# --- when to look again -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "at_rest", "deadline"),
    [
        (None, front(), None),
        (SPEC, front(gateway(FrontState.RUNNING)), None),
        (SPEC, front(gateway(FrontState.STARTING)), 30.0),
        (SPEC, replace(front(), retry_at=7.0), 7.0),
        (None, replace(front(), retry_at=7.0), None),
        (SPEC, front(gateway(FrontState.RUNNING, generation=2), gateway(FrontState.LAME)), 31.0),
        (None, front(gateway(FrontState.STOPPING)), 45.0),
        (None, front(replace(gateway(FrontState.STOPPING), is_killed=True)), None),
    ],
    ids=["none", "runs", "starts", "waits", "not wanted", "lame", "stopping", "killed"],
)
def test_the_loop_sleeps_until_the_next_deadline(
    wanted: FrontSpec | None, at_rest: Front, deadline: float | None
) -> None:
    assert next_front_deadline(wanted, at_rest, POLICY) == deadline


def test_the_loop_does_not_wake_for_a_replacement_that_cannot_boot() -> None:
    failed = crash(carry_on(MORE, front(gateway(FrontState.RUNNING)), 1.0), 2, 2.0)

    assert next_front_deadline(MORE, failed, POLICY) is None


# --- actions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "state", "is_killed", "doom"),
    [
        (RetireFront(1), FrontState.LAME, False, None),
        (StopFront(1), FrontState.STOPPING, False, None),
        (KillFront(1), FrontState.STOPPING, True, None),
        (KillFront(1, LATE), FrontState.STOPPING, True, LATE),
    ],
)
def test_what_was_told_to_a_gateway_is_its_new_state(
    action: FrontAction, state: FrontState, is_killed: bool, doom: str | None
) -> None:
    both = front(gateway(FrontState.RUNNING), gateway(FrontState.RUNNING, MORE, 2))

    told, other = issue_front(both, action, 8.0).instances

    assert (told.state, told.since, told.is_killed, told.doom) == (state, 8.0, is_killed, doom)
    assert other == both.instances[1]


def test_a_start_adds_a_generation_never_used_before() -> None:
    after = issue_front(Front(serial=4), StartFront(5, SPEC), 8.0)

    assert after.serial == 5
    assert after.instances == (FrontInstance(5, SPEC, FrontState.STARTING, 8.0),)
