"""What takes a rollout from step to step, and what holds it back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.evidence import Figures
from rerank_server.core.rollout import NOT_BEGUN, Decision, Presence, Rollout, State
from rerank_server.core.rollout_json import figures_shown
from rerank_server.core.rollout_step import step
from tests.core.rollout_build import COURSE, begun, figures, interval, quarter, seen


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
