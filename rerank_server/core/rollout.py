"""A guarded rollout: traffic that goes over to one version step by step; how far it came."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from rerank_server.core.evidence import Figures
from rerank_server.core.guards import Finding, Guards, Record

NOT_BEGUN = -1
"""The step before the first: the arm is not live yet, and has no share."""
_LEAST_PATIENCE_S = 10.0
"""Gateways tell once a second; a restarted one is back well within this."""


class State(StrEnum):
    """How a rollout stands."""

    RUNNING = "running"
    PAUSED = "paused"
    """It keeps its share; a broken guard still ends it."""
    DONE = "done"
    """It keeps its last share."""
    ABORTED = "aborted"
    """It has no share."""


class Presence(StrEnum):
    """Whether the arm can answer."""

    LIVE = "live"
    STARTING = "starting"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Course:
    """What a rollout is to do."""

    to: str
    steps: tuple[float, ...] = (1.0, 5.0, 25.0, 50.0, 100.0)
    """Shares in percent, rising, the first above 0."""
    interval_s: float = 300.0
    guards: Guards = field(default_factory=Guards)

    @property
    def patience_s(self) -> float:
        """How long the arm, or news of it, may be missing."""
        return max(_LEAST_PATIENCE_S, self.interval_s / 2)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What came within some time."""

    figures: Figures = field(default_factory=Figures)
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen since the step before."""

    news: Figures = field(default_factory=Figures)
    is_fresh: bool = True
    """Whether any gateway told anything, if only that nothing happened."""
    presence: Presence = Presence.LIVE
    absence: str | None = None
    """Why the arm cannot answer, for people."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout, as far as it came."""

    course: Course
    state: State = State.RUNNING
    step: int = NOT_BEGUN
    """Which of the course's steps; their number means all of the traffic, by an operator's word."""
    elapsed_s: float = 0.0
    """In this step."""
    recent: tuple[Stretch, ...] = (Stretch(),)
    """The last interval in pieces, oldest first; the last one is growing."""
    total: Figures = field(default_factory=Figures)
    """Of this step."""
    others_p95_s: float | None = None
    findings: tuple[Finding, ...] = ()
    """What the guards said last."""
    silent_s: float = 0.0
    absent_s: float = 0.0
    is_awaited: bool = True
    """Whether the arm was not seen live yet, since the server or the rollout started."""
    reason: str | None = None
    """Why it is done or aborted."""
    at: float | None = field(default=None, compare=False)
    """When it was looked at last; None: not yet by this server."""

    @property
    def share(self) -> float:
        """Percent of the traffic that the arm is to have now."""
        if self.state is State.ABORTED or self.step == NOT_BEGUN:
            return 0.0
        steps = self.course.steps
        return steps[self.step] if self.step < len(steps) else 100.0

    @property
    def is_active(self) -> bool:
        """Whether it is under way: it watches its guards."""
        return self.state in (State.RUNNING, State.PAUSED)


@dataclass(frozen=True, slots=True)
class Decision:
    """A change that a rollout made by itself."""

    outcome: str
    """begun, advanced, done or aborted."""
    before: float
    after: float
    """Shares in percent."""
    why: str
    findings: tuple[Finding, ...]
    figures: Figures
    """Those it was decided by: of the step, or of the last interval where that broke a guard."""


def record_of(rollout: Rollout) -> Record:
    """Return the figures the guards look at."""
    recent = Figures()
    for stretch in rollout.recent:
        recent = recent.plus(stretch.figures)
    return Record(recent, rollout.total, rollout.others_p95_s, rollout.share == 100.0)


# --- what an operator says, and the server ------------------------------------------------------


def pause(rollout: Rollout) -> Rollout:
    """Stay at this share. Idempotent; only of one that is active."""
    return replace(rollout, state=State.PAUSED) if rollout.is_active else rollout


def resume(rollout: Rollout) -> Rollout:
    """Go on. Idempotent; only of one that is active. What came meanwhile counts."""
    return replace(rollout, state=State.RUNNING) if rollout.is_active else rollout


def promote(rollout: Rollout) -> Rollout:
    """Give the arm all the traffic now; where it has that, be done. Not of an aborted one."""
    if rollout.state is State.ABORTED:
        return rollout
    if rollout.share == 100.0:
        reason = rollout.reason or "promoted by an operator"
        return replace(rollout, state=State.DONE, reason=reason)
    steps = rollout.course.steps
    last = len(steps) - 1 if steps[-1] == 100.0 else len(steps)
    return replace(
        rollout,
        state=State.RUNNING,
        step=last,
        elapsed_s=0.0,
        total=Figures(),
        findings=(),
        reason=None,
    )


def abort(rollout: Rollout, why: str) -> Rollout:
    """Take all traffic from the arm. An aborted one keeps the reason it has."""
    if rollout.state is State.ABORTED:
        return rollout
    return replace(rollout, state=State.ABORTED, reason=why)


def redirected(rollout: Rollout, course: Course) -> Rollout:
    """Have one that is not aborted follow another course to the same arm, from where it is.

    It keeps its share, which becomes a step of the course where it is none; the next one is the
    first above it. One that is done goes on if there is such a step.
    """
    if rollout.step == NOT_BEGUN:
        return replace(rollout, course=course)
    share = rollout.share
    steps = tuple(sorted({*course.steps, share}))
    rollout = replace(
        rollout, course=replace(course, steps=steps), step=steps.index(share), findings=()
    )
    if rollout.is_active or share == steps[-1]:
        return rollout
    fresh = replace(rollout, state=State.RUNNING, elapsed_s=0.0, total=Figures(), reason=None)
    return replace(fresh, recent=(Stretch(),), is_awaited=True, silent_s=0.0, absent_s=0.0, at=None)


def restored(rollout: Rollout) -> Rollout:
    """Return the rollout for a server that has just started: its arm has yet to load."""
    return replace(rollout, is_awaited=True, silent_s=0.0, absent_s=0.0, at=None)
