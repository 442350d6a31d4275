"""Figures and rollouts for tests, in one line each."""

from __future__ import annotations

from dataclasses import replace

from rerank_server.core.evidence import Compared, Figures, Tally
from rerank_server.core.guards import Guards
from rerank_server.core.rollout import Course, Decision, Presence, Rollout, Sight
from rerank_server.core.rollout_step import step

FAST = 20
SLOW = 30
"""Buckets of the histogram: the factor between them is 1.1 ** 10, about 2.6."""

COURSE = Course(
    "v2-gemma",
    steps=(1.0, 10.0, 100.0),
    interval_s=40.0,
    guards=Guards(error_ratio=0.02, p95_ratio=1.5, min_requests=50, mirror_tau=0.6),
)


def tally(requests: int = 0, errors: int = 0, bucket: int = FAST) -> Tally:
    """Return a tally of requests that took equally long."""
    answered = requests - errors
    return Tally(requests, errors, {bucket: answered} if answered else {})


def figures(
    requests: int = 0,
    errors: int = 0,
    *,
    bucket: int = FAST,
    others: int = 1000,
    compared: int = 0,
    tau: float = 0.9,
    failed: int = 0,
) -> Figures:
    """Return figures of an arm beside others that are fast."""
    mirrored = Compared(compared, compared * tau, failed)
    return Figures(tally(requests, errors, bucket), tally(others), mirrored)


GOOD = figures(60, compared=60)


def seen(news: Figures = GOOD, presence: Presence = Presence.LIVE, *, fresh: bool = True) -> Sight:
    """Return what was seen."""
    return Sight(news, fresh, presence, None if presence is Presence.LIVE else "FAILED (bad)")


def begun(course: Course = COURSE, now: float = 0.0) -> Rollout:
    """Return a rollout that has just gone to its first step."""
    rollout, decision = step(Rollout(course), seen(Figures()), now)
    assert decision is not None
    assert decision.outcome == "begun"
    return rollout


def quarter(rollout: Rollout, sight: Sight) -> tuple[Rollout, Decision | None]:
    """Let a quarter of an interval pass, and see this at its end."""
    assert rollout.at is not None
    return step(rollout, sight, rollout.at + rollout.course.interval_s / 4)


def interval(rollout: Rollout, *sights: Sight) -> tuple[Rollout, Decision | None]:
    """Let four quarters pass, or as many until something is decided."""
    sights = sights or (seen(),) * 4
    decision: Decision | None = None
    for sight in sights:
        rollout, decision = quarter(rollout, sight)
        if decision is not None:
            break
    return rollout, decision


def without_tau(course: Course = COURSE) -> Course:
    """Return a course that does not ask for mirrored requests."""
    return replace(course, guards=replace(course.guards, mirror_tau=None))


def why(decision: Decision | None) -> str:
    """Return why a rollout was aborted, as this decision did."""
    assert decision is not None
    assert (decision.outcome, decision.after) == ("aborted", 0.0)
    return decision.why
