"""What is heard of a gateway, and what it was told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.front import (
    Front,
    FrontAction,
    FrontEvent,
    FrontExited,
    FrontInstance,
    FrontReady,
    FrontSpawned,
    FrontState,
    KillFront,
    RetireFront,
    StartFront,
    StopFront,
    apply_front,
    issue_front,
)
from rerank_server.core.types import CameLate
from tests.core.front_build import LATE, MORE, SPEC, carry_on, due, front, gateway

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
