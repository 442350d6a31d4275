"""What is due for the gateway, and when to look again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.front import (
    Front,
    FrontAction,
    FrontInstance,
    FrontSpec,
    FrontState,
    KillFront,
    RetireFront,
    StartFront,
    StopFront,
    issue_front,
    next_front_deadline,
    reconcile_front,
)
from tests.core.front_build import LATE, MORE, POLICY, SPEC, carry_on, crash, due, front, gateway

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
