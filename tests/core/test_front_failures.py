"""Gateways that do not boot, or die."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.front import Front, FrontState, StartFront, issue_front
from tests.core.front_build import LATE, MORE, SPEC, carry_on, crash, due, front, gateway


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
