from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from rerank_server.core.evidence import Figures
from rerank_server.core.rollout import (
    NOT_BEGUN,
    Course,
    Decision,
    Presence,
    Rollout,
    State,
    abort,
    pause,
    promote,
    redirected,
    restored,
    resume,
)
from rerank_server.core.rollout_json import course_json, figures_shown, rollout_from, rollout_json
from rerank_server.core.rollout_step import step
from tests.core.rollout_build import (
    COURSE,
    SLOW,
    begun,
    figures,
    interval,
    quarter,
    seen,
    without_tau,
)


def why(decision: Decision | None) -> str:
    assert decision is not None
    assert (decision.outcome, decision.after) == ("aborted", 0.0)
    return decision.why


# --- going on -----------------------------------------------------------------------------------


def test_it_begins_when_its_arm_is_live() -> None:
    waiting, decision = step(Rollout(COURSE), seen(presence=Presence.STARTING), 1000.0)
    assert (waiting.share, waiting.step, decision) == (0.0, NOT_BEGUN, None)

    rollout, decision = step(waiting, seen(), 1001.0)

    assert decision == Decision("begun", 0.0, 1.0, "it is live", (), Figures())
    assert (rollout.share, rollout.elapsed_s, rollout.total) == (1.0, 0.0, Figures())


def test_it_goes_through_its_steps_and_is_done() -> None:
    rollout = begun()
    said = []

    for _ in range(3):
        rollout, decision = interval(rollout)
        assert decision is not None
        said.append((decision.outcome, decision.before, decision.after))

    assert said == [("advanced", 1, 10), ("advanced", 10, 100), ("done", 100, 100)]
    assert (rollout.state, rollout.share, rollout.reason) == (State.DONE, 100, "all steps held")
    assert step(rollout, seen(figures(99, 99)), 1e6)[0] == rollout


def test_a_decision_carries_the_figures_it_went_by() -> None:
    _, decision = interval(begun())

    assert decision is not None
    assert decision.why == (
        "error_ratio: 0 of 240 requests failed or were answered by another version "
        "(at most 2.00%; of the others 0 of 4000)"
        "; p95_ratio: p95 is 0.7 ms, that of the others 0.7 ms (at most 1.5 times)"
        "; mirror_tau: mean tau is 0.900 (240 rankings compared in this step, 0 copies failed; "
        "at least 0.6)"
    )
    assert figures_shown(decision.figures) == {
        "requests": 240,
        "errors": 0,
        "p95_s": 0.000706,
        "others_requests": 4000,
        "others_errors": 0,
        "others_p95_s": 0.000706,
        "compared": 240,
        "copies_failed": 0,
        "mean_tau": 0.9,
    }
    assert figures_shown(Figures())["p95_s"] is None


@pytest.mark.parametrize(
    "news",
    [
        figures(12, compared=60),  # 48 in four quarters: too few requests
        figures(60, compared=12),  # too few comparisons
        figures(60, compared=60, others=12),  # too few to compare the time with
        Figures(),
    ],
)
def test_without_enough_evidence_it_waits(news: Figures) -> None:
    rollout, decision = interval(begun(), *[seen(news)] * 4)

    assert (rollout.share, rollout.state, decision) == (1.0, State.RUNNING, None)
    assert rollout.elapsed_s == COURSE.interval_s


def test_evidence_that_comes_slowly_is_enough_in_the_end() -> None:
    slowly = figures(5, compared=5)

    _, decision = interval(begun(), *[seen(slowly)] * 10)

    assert decision is not None
    assert (decision.outcome, decision.figures.arm.requests) == ("advanced", 50)


def test_each_step_needs_evidence_of_its_own() -> None:
    rollout, _ = interval(begun(), *[seen(figures(400, compared=400))] * 4)
    assert rollout.share == 10.0

    rollout, decision = interval(rollout, *[seen(figures(10, compared=10))] * 4)
    assert (rollout.share, decision) == (10.0, None)
    rollout, decision = quarter(rollout, seen(figures(10, compared=10)))

    assert rollout.share == 100.0


def test_a_silence_is_no_part_of_a_step() -> None:
    rollout = begun()
    for second in range(1, 6):
        rollout, _ = step(rollout, seen(Figures(), fresh=False), float(second))

    assert rollout.elapsed_s == 3.0


def test_a_step_is_not_shorter_than_its_interval() -> None:
    rollout, decision = interval(begun(), *[seen()] * 3)

    assert (rollout.share, decision) == (1.0, None)


def test_it_does_not_go_on_in_the_moment_something_breaks() -> None:
    few = seen(figures(400, compared=60))

    rollout, decision = interval(begun(), few, few, few, seen(figures(60, 3, compared=60)))

    assert (rollout.share, decision) == (1.0, None)


def test_it_does_not_go_on_while_nothing_is_heard() -> None:
    rollout, _ = interval(begun(), *[seen()] * 3)
    for _ in range(2):
        rollout, _ = step(rollout, seen(Figures(), fresh=False), (rollout.at or 0.0) + 2.0)
    at = rollout.at or 0.0

    rollout, decision = step(replace(rollout, elapsed_s=40.0), seen(fresh=False), at + 10.0)

    assert (rollout.share, decision) == (1.0, None)


# --- going back ---------------------------------------------------------------------------------


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


# --- what operators say -------------------------------------------------------------------------


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


# --- the file -----------------------------------------------------------------------------------


def test_a_server_started_anew_keeps_the_step_and_waits_for_the_arm() -> None:
    rollout, _ = quarter(begun(), seen())
    text = json.dumps(rollout_json(rollout))

    again = restored(rollout_from(json.loads(text)))
    assert (again.share, again.total, again.elapsed_s) == (1.0, rollout.total, 10.0)
    waiting, _ = step(again, seen(figures(9, 9), Presence.STARTING), 99_000.0)
    live, _ = step(waiting, seen(figures(9, 9)), 99_100.0)
    later, _ = step(live, seen(Figures()), 99_101.0)

    assert (later.share, later.total, later.elapsed_s) == (1.0, rollout.total, 11.0)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "asleep"},
        {"step": 4},
        {"step": -2},
        {"recent": []},
        {"recent": {}},
        {"findings": None},
        {"total": None},
        {"total": []},
        {"course": {"to": "v1", "steps": [], "interval_s": 1, "guards": {"mirror_tau": None}}},
        {"course": {"to": "v1", "steps": 5, "interval_s": 1, "guards": {"mirror_tau": None}}},
        {"course": {**course_json(COURSE), "interval_s": 0}},
        {"course": {**course_json(COURSE), "interval_s": math.nan}},
        {"course": {**course_json(COURSE), "interval_s": math.inf}},
        {"course": {**course_json(COURSE), "steps": [5.0, 1.0, 100.0]}},
        {"course": {**course_json(COURSE), "steps": [0.0, 1.0, 100.0]}},
        {"course": {**course_json(COURSE), "steps": [1.0, math.nan, 100.0]}},
        {"course": {**course_json(COURSE), "steps": [1.0, 10.0, 101.0]}},
        {"elapsed_s": math.nan},
        {"silent_s": -math.inf},
    ],
)
def test_another_file_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        rollout_from({**rollout_json(begun()), **change})


def test_a_course_without_mirror_tau_survives_its_file_too() -> None:
    rollout, _ = quarter(begun(without_tau(Course("v1"))), seen(Figures()))

    assert rollout_from(json.loads(json.dumps(rollout_json(rollout)))) == rollout
