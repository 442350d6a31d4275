"""What a rollout does by itself: goes on with enough evidence, goes back when a guard breaks.

It never advances blind, and never by itself to a share that is not a step's. What came while
nobody looked, because the server was down, does not count.
"""

from __future__ import annotations

from dataclasses import replace

from rerank_server.core.evidence import Figures
from rerank_server.core.guards import Standing, is_certain, judge, reference_p95_s
from rerank_server.core.rollout import (
    NOT_BEGUN,
    Decision,
    Presence,
    Rollout,
    Sight,
    State,
    Stretch,
    record_of,
)

QUARTERS = 4
"""How often an interval the guards are judged."""
_MOST_AT_ONCE_S = 2.0
"""Of an absence: if this process was stopped for longer, it has seen no more of it than this."""
_SILENCE_S = 3.0
"""Gateways tell once a second; one that tells nothing for longer has stopped."""

Stepped = tuple[Rollout, Decision | None]


def step(rollout: Rollout, sight: Sight, now: float) -> Stepped:
    """Return the rollout after what was seen until `now`, and what it decided, if anything."""
    passed_s = 0.0 if rollout.at is None else max(0.0, now - rollout.at)
    rollout = replace(rollout, at=now)
    if not rollout.is_active:
        return rollout, None
    if rollout.is_awaited or rollout.step == NOT_BEGUN:
        return _await(rollout, sight, passed_s)
    rollout = _take(rollout, sight, passed_s)
    patience_s = rollout.course.patience_s
    if rollout.silent_s > patience_s:
        return _abort(rollout, f"no figures came from the gateway for {rollout.silent_s:.0f} s")
    if rollout.absent_s > patience_s:
        return _abort(rollout, _gone(rollout, sight))
    return _decide(rollout)


def _await(rollout: Rollout, sight: Sight, passed_s: float) -> Stepped:
    """Wait for the arm, which may load; what is counted meanwhile says nothing of it."""
    if sight.presence is Presence.LIVE:
        rollout = replace(rollout, is_awaited=False, absent_s=0.0, silent_s=0.0)
        if rollout.step == NOT_BEGUN and rollout.state is State.RUNNING:
            return _go_to(rollout, 0, "begun", "it is live")
        return rollout, None
    if sight.presence is Presence.DOWN:
        rollout = _missing(rollout, passed_s)
    if rollout.absent_s > rollout.course.patience_s:
        return _abort(rollout, _gone(rollout, sight))
    return rollout, None


def _take(rollout: Rollout, sight: Sight, passed_s: float) -> Rollout:
    """Add what came to what is known."""
    growing = rollout.recent[-1]
    silent_s = 0.0 if sight.is_fresh else rollout.silent_s + min(passed_s, _MOST_AT_ONCE_S)
    heard_s = passed_s if silent_s <= _SILENCE_S else 0.0  # silence proves nothing
    grown = Stretch(growing.figures.plus(sight.news), growing.duration_s + heard_s)
    rollout = replace(
        rollout,
        recent=(*rollout.recent[:-1], grown),
        total=rollout.total.plus(sight.news),
        elapsed_s=rollout.elapsed_s + heard_s,
        silent_s=silent_s,
    )
    if sight.presence is Presence.LIVE:
        return replace(rollout, absent_s=0.0)
    return _missing(rollout, passed_s)


def _missing(rollout: Rollout, passed_s: float) -> Rollout:
    return replace(rollout, absent_s=rollout.absent_s + min(passed_s, _MOST_AT_ONCE_S))


def _gone(rollout: Rollout, sight: Sight) -> str:
    why = f": {sight.absence}" if sight.absence else ""
    return f"{rollout.course.to} has not been there for {rollout.absent_s:.0f} s{why}"


def _decide(rollout: Rollout) -> Stepped:
    """Judge the guards, if it is time to or failures leave no doubt; then go on, or back."""
    guards, record = rollout.course.guards, record_of(rollout)
    is_due = rollout.recent[-1].duration_s >= rollout.course.interval_s / QUARTERS
    if not is_due and not is_certain(guards, record.recent):
        return rollout, None
    findings = judge(guards, record)
    rollout = replace(rollout, findings=findings, others_p95_s=reference_p95_s(guards, record))
    broken = [found for found in findings if found.standing is Standing.BROKEN]
    if broken:
        why = "; ".join(f"{found.guard}: {found.text}" for found in broken)
        return _abort(rollout, why, record.recent)
    if rollout.state is State.RUNNING and _may_advance(rollout):
        return _advance(rollout)
    return _turn_over(rollout), None


def _may_advance(rollout: Rollout) -> bool:
    """Tell whether the step has held, and its last quarter by itself shows nothing else."""
    if rollout.elapsed_s < rollout.course.interval_s or rollout.silent_s > _SILENCE_S:
        return False
    lately = replace(record_of(rollout), recent=rollout.recent[-1].figures)
    found = (*rollout.findings, *judge(rollout.course.guards, lately))
    return all(finding.standing is Standing.HOLDS for finding in found)


def _turn_over(rollout: Rollout) -> Rollout:
    """Begin a new piece of the recent past; with it, what is kept spans an interval."""
    kept, needed_s = rollout.recent, rollout.course.interval_s * (QUARTERS - 1) / QUARTERS
    while sum(stretch.duration_s for stretch in kept[1:]) >= needed_s:
        kept = kept[1:]
    return replace(rollout, recent=(*kept, Stretch()))


def _advance(rollout: Rollout) -> Stepped:
    why = "; ".join(f"{found.guard}: {found.text}" for found in rollout.findings)
    if rollout.step + 1 >= len(rollout.course.steps):
        done = replace(rollout, state=State.DONE, reason="all steps held")
        return done, _decision(rollout, done, "done", why)
    return _go_to(_turn_over(rollout), rollout.step + 1, "advanced", why)


def _go_to(rollout: Rollout, number: int, outcome: str, why: str) -> Stepped:
    """Begin a step. The recent past stays: what broke just now is found out all the same."""
    gone = replace(rollout, step=number, elapsed_s=0.0, total=Figures(), findings=())
    return gone, _decision(rollout, gone, outcome, why)


def _abort(rollout: Rollout, why: str, figures: Figures | None = None) -> Stepped:
    aborted = replace(rollout, state=State.ABORTED, reason=why)
    decision = _decision(rollout, aborted, "aborted", why)
    return aborted, decision if figures is None else replace(decision, figures=figures)


def _decision(before: Rollout, after: Rollout, outcome: str, why: str) -> Decision:
    return Decision(outcome, before.share, after.share, why, before.findings, before.total)
