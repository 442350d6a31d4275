"""What operators say to a rollout."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.rollout import Rollout, State, abort, pause, promote, redirected, resume
from rerank_server.core.rollout_step import step
from tests.core.rollout_build import (
    COURSE,
    begun,
    figures,
    interval,
    quarter,
    seen,
    why,
    without_tau,
)


def test_paused_it_keeps_its_share_until_resumed() -> None:
    rollout, decision = interval(pause(begun()))
    assert (rollout.share, decision) == (1.0, None)

    rollout, decision = quarter(resume(rollout), seen())

    assert rollout.share == 10.0


def test_paused_before_it_began_it_begins_when_resumed() -> None:
    rollout, decision = step(pause(Rollout(COURSE)), seen(), 1.0)
    assert (rollout.share, rollout.is_awaited, decision) == (0.0, False, None)

    rollout, _ = step(resume(rollout), seen(), 2.0)

    assert rollout.share == 1.0


def test_promoted_it_has_all_the_traffic_and_still_watches() -> None:
    rollout = promote(begun(without_tau()))
    assert (rollout.share, rollout.step, rollout.state) == (100.0, 2, State.RUNNING)

    assert promote(rollout).state is State.DONE
    assert why(quarter(rollout, seen(figures(60, 30)))[1]).startswith("error_ratio")


def test_steps_that_end_below_all_the_traffic_end_there() -> None:
    course = replace(without_tau(), steps=(1.0, 10.0))
    rollout, _ = interval(begun(course))
    rollout, decision = interval(rollout)
    assert decision is not None
    assert (rollout.state, rollout.share) == (State.DONE, 10.0)

    rollout = promote(rollout)
    assert (rollout.state, rollout.share, rollout.step) == (State.RUNNING, 100.0, 2)
    rollout, decision = interval(rollout)

    assert decision is not None
    assert (rollout.state, rollout.share, decision.outcome) == (State.DONE, 100.0, "done")


def test_aborted_it_stays_so_whatever_is_said() -> None:
    rollout = abort(begun(), "asked to")

    assert (rollout.share, rollout.reason) == (0.0, "asked to")
    for said in (pause(rollout), resume(rollout), promote(rollout), abort(rollout, "again")):
        assert said == rollout


def test_what_is_done_may_be_aborted() -> None:
    done = promote(promote(begun()))
    assert done.reason == "promoted by an operator"

    assert abort(done, "second thoughts").share == 0.0


@pytest.mark.parametrize(
    ("steps", "followed", "number"),
    [
        ((1.0, 50.0), (1.0, 50.0), 0),
        ((5.0, 50.0), (1.0, 5.0, 50.0), 0),
        ((0.5, 5.0), (0.5, 1.0, 5.0), 1),
        ((0.1, 0.5), (0.1, 0.5, 1.0), 2),
    ],
)
def test_by_another_course_it_goes_on_from_its_share(
    steps: tuple[float, ...], followed: tuple[float, ...], number: int
) -> None:
    rollout, _ = quarter(begun(), seen())
    course = replace(COURSE, steps=steps, interval_s=80.0)

    other = redirected(rollout, course)

    assert other.course == replace(course, steps=followed)
    assert (other.share, other.step, other.state) == (1.0, number, State.RUNNING)
    assert (other.elapsed_s, other.total) == (rollout.elapsed_s, rollout.total)


def test_by_another_course_one_that_has_not_begun_begins_there() -> None:
    course = replace(COURSE, steps=(7.0,))

    assert redirected(Rollout(COURSE), course) == Rollout(course)


def test_one_that_is_done_goes_on_by_a_course_that_leads_further() -> None:
    done = Rollout(COURSE, State.DONE, 1, elapsed_s=9.0, reason="all steps held", is_awaited=False)

    further = redirected(done, replace(COURSE, steps=(50.0,)))
    no_further = redirected(done, replace(COURSE, steps=(5.0,)))

    assert (further.state, further.share, further.course.steps) == (State.RUNNING, 10, (10, 50))
    assert (further.elapsed_s, further.reason, further.is_awaited) == (0.0, None, True)
    assert (no_further.state, no_further.share) == (State.DONE, 10.0)
