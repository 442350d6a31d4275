"""What takes all traffic from a rollout's arm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.evidence import Figures
from rerank_server.core.rollout import Decision, Presence, Rollout, State
from rerank_server.core.rollout_step import step
from tests.core.rollout_build import (
    COURSE,
    SLOW,
    begun,
    figures,
    interval,
    quarter,
    seen,
    why,
    without_tau,
)


@pytest.mark.parametrize(
    ("bad", "guard"),
    [
        (figures(60, 6, compared=60), "error_ratio: 6 of 60"),
        (figures(60, bucket=SLOW, compared=60), "p95_ratio: p95 is 1.8 ms"),
        (figures(60, compared=60, tau=0.1), "mirror_tau: mean tau is 0.100"),
    ],
)
def test_a_broken_guard_takes_all_traffic_from_the_arm(bad: Figures, guard: str) -> None:
    rollout, decision = quarter(begun(), seen(bad))

    assert why(decision).startswith(guard)
    assert (rollout.state, rollout.share, rollout.reason) == (State.ABORTED, 0.0, why(decision))
    assert decision is not None
    assert decision.figures == bad


def test_failures_beyond_doubt_do_not_wait_for_a_quarter() -> None:
    rollout = begun()

    after, decision = step(rollout, seen(figures(3, 3)), 0.1)

    assert why(decision).startswith("error_ratio: 3 of 3 requests failed")
    assert step(rollout, seen(figures(60, 2)), 0.1)[1] is None
    assert after.share == 0.0


def test_what_broke_before_a_step_is_found_out_after_it() -> None:
    rollout, _ = interval(begun())
    slow = seen(figures(1000, bucket=SLOW, compared=60))

    rollout, decision = quarter(rollout, slow)

    assert why(decision).startswith("p95_ratio")


def test_what_is_older_than_an_interval_no_longer_excuses() -> None:
    rollout = replace(begun(without_tau()), state=State.PAUSED)
    rollout, decision = interval(rollout, *[seen(figures(10_000))] * 8)
    assert decision is None

    rollout, decision = interval(rollout, *[seen(figures(60, 2))] * 5)

    assert why(decision).startswith("error_ratio: 8 of 240")


@pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED])
def test_it_aborts_when_the_gateway_tells_nothing(state: State) -> None:
    rollout = replace(begun(), state=state)
    decision: Decision | None = None
    for second in range(1, 22):
        assert decision is None
        rollout, decision = step(rollout, seen(Figures(), fresh=False), float(second))

    assert why(decision) == "no figures came from the gateway for 21 s"


@pytest.mark.parametrize("presence", [Presence.STARTING, Presence.DOWN])
def test_it_aborts_when_its_arm_is_gone(presence: Presence) -> None:
    rollout, decision = begun(), None
    for second in range(1, 22):
        assert decision is None
        rollout, decision = step(rollout, seen(Figures(), presence), float(second))

    assert why(decision) == "v2-gemma has not been there for 21 s: FAILED (bad)"


def test_an_arm_that_comes_back_in_time_is_forgiven() -> None:
    rollout = begun()
    for second in range(1, 61):
        presence = Presence.LIVE if second % 20 == 0 else Presence.DOWN
        rollout, decision = step(rollout, seen(Figures(), presence), float(second))
        assert decision is None

    assert rollout.share == 1.0


def test_an_absence_counts_only_as_long_as_it_was_watched() -> None:
    rollout, decision = step(begun(), seen(Figures(), Presence.DOWN, fresh=False), 3600.0)

    assert (decision, rollout.absent_s, rollout.silent_s) == (None, 2.0, 2.0)


def test_an_arm_that_only_loads_is_waited_for_and_one_that_failed_is_not() -> None:
    rollout, decision = Rollout(COURSE), None
    for second in range(600):
        rollout, decision = step(rollout, seen(presence=Presence.STARTING), float(second))
        assert decision is None
    for second in range(600, 621):
        assert decision is None
        rollout, decision = step(rollout, replace(seen(), presence=Presence.DOWN), float(second))

    assert why(decision) == "v2-gemma has not been there for 21 s"
