"""Whether what is known of an arm keeps to the limits of a rollout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from rerank_server.core.evidence import Figures

_CERTAIN_FAILURES = 3
_CERTAIN_Z = 3.0  # one time in a thousand, for a ratio that is exactly at its limit
_SLOW_SHARE = 0.05  # of the answers are above a 95th percentile


class Standing(StrEnum):
    """What a guard says."""

    HOLDS = "holds"
    BROKEN = "broken"
    OPEN = "open"
    """Not known yet: too little evidence."""


@dataclass(frozen=True, slots=True)
class Guards:
    """The limits."""

    error_ratio: float = 0.01
    p95_ratio: float = 1.5
    min_requests: int = 50
    """Fewer prove nothing: answers for the time, comparisons for the rankings."""
    mirror_tau: float | None = None
    """None: not asked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one guard says, and the figures it goes by."""

    guard: str
    standing: Standing
    value: float | None
    limit: float
    text: str
    """For people: what was found, against what is allowed."""


@dataclass(frozen=True, slots=True)
class Record:
    """All the figures that guards look at."""

    recent: Figures
    """Of about the last interval, whatever step it was."""
    step: Figures
    """Of all of this step."""
    others_p95_s: float | None = None
    """As it was when the others last had enough requests."""
    is_alone: bool = False
    """Whether the arm has all the traffic, so that there are no others to compare it with."""


def judge(guards: Guards, record: Record) -> tuple[Finding, ...]:
    """Return what each guard says.

    A guard is broken if the recent figures break it, or those of the whole step. It holds only
    if the step has enough evidence of its own.
    """
    found = [_errors(guards, record), _time(guards, record)]
    if guards.mirror_tau is not None:
        found.append(_tau(guards, guards.mirror_tau, record))
    return tuple(found)


def is_certain(guards: Guards, recent: Figures) -> bool:
    """Tell whether failures alone leave no doubt, so that nothing more need be awaited.

    That is: the lower end of Wilson's interval for their share is above the limit.
    """
    n, errors = recent.arm.requests, recent.arm.errors
    if errors < _CERTAIN_FAILURES:
        return False
    return _is_beyond_chance(errors / n, guards.error_ratio, 1 / n)


def reference_p95_s(guards: Guards, record: Record) -> float | None:
    """Return the others' 95th percentile: the newest that stands on enough requests."""
    return _reference(guards, record, record.recent)[0]


def _reference(guards: Guards, record: Record, figures: Figures) -> tuple[float | None, float]:
    """Return the others' 95th percentile that these figures are held to, and its `spread`.

    That of the same time, if it stands on enough requests: an hour that is slow for all versions
    is not held to one that was quick. What the others took when they last had enough counts as
    exact: nothing will make it known any better.
    """
    for known in (figures, record.recent, record.step):
        if known.others.answered >= guards.min_requests:
            return known.others.p95_s, 1 / known.others.answered
    return record.others_p95_s, 0.0


def _is_beyond_chance(share: float, limit: float, spread: float) -> bool:
    """Tell whether a share is further above the limit than chance would take it.

    `spread` is 1 / n for a share of n; where the limit itself was measured, on m, 1 / n + 1 / m.
    """
    return share - limit > _CERTAIN_Z * math.sqrt(limit * (1 - limit) * spread)


def _errors(guards: Guards, record: Record) -> Finding:
    least, limit = guards.min_requests, guards.error_ratio
    # Few requests count as `least`: what fails of them is known, and the rest might be well.
    worst = max(f.arm.errors / max(f.arm.requests, least) for f in (record.recent, record.step))
    shown = record.recent if record.recent.arm.requests >= least else record.step
    n, errors = shown.arm.requests, shown.arm.errors
    if worst > limit or is_certain(guards, record.recent):
        standing = Standing.BROKEN
    else:
        standing = Standing.HOLDS if record.step.arm.requests >= least else Standing.OPEN
    others = shown.others
    theirs = f"; of the others {others.errors} of {others.requests}" if others.requests else ""
    text = (
        f"{errors} of {n} requests failed or were answered by another version "
        f"(at most {limit:.2%}{theirs})"
    )
    return Finding("error_ratio", standing, errors / n if n else None, limit, text)


def _time(guards: Guards, record: Record) -> Finding:
    least, limit = guards.min_requests, guards.p95_ratio
    reference = reference_p95_s(guards, record)

    def ratio(figures: Figures) -> float | None:
        p95_s, others_s = figures.arm.p95_s, _reference(guards, record, figures)[0]
        if figures.arm.answered < least or p95_s is None or not others_s:
            return None
        return p95_s / others_s

    value, standing = _standing(record, ratio, lambda found: found > limit)
    if standing is Standing.OPEN and reference is None and record.is_alone:
        return Finding("p95_ratio", Standing.HOLDS, None, limit, "p95 has nothing to be held to")
    chance = ""
    if standing is Standing.BROKEN and not _is_slow(guards, record):
        standing, chance = Standing.OPEN, ", which may be chance"
    windows = (record.recent, record.step)
    shown = next((f for f in windows if (ratio(f) or 0.0) > limit), None)  # what broke it, if any
    shown = shown or next((f for f in windows if f.arm.answered >= least), record.step)
    p95_s, reference = shown.arm.p95_s, _reference(guards, record, shown)[0]
    theirs = "unknown" if reference is None else f"{reference * 1000:.1f} ms"
    own = "unknown" if p95_s is None else f"{p95_s * 1000:.1f} ms"
    text = f"p95 is {own}, that of the others {theirs} (at most {limit:g} times){chance}"
    return Finding("p95_ratio", standing, value, limit, text)


def _is_slow(guards: Guards, record: Record) -> bool:
    """Tell whether too many answers are above the limit for chance to explain them.

    The p95 of a few hundred requests goes up and down by half, whoever answers.
    """

    def is_slow(figures: Figures) -> bool:
        arm, (reference, spread) = figures.arm, _reference(guards, record, figures)
        assert reference is not None, "there was a ratio to it"
        if arm.answered < guards.min_requests:
            return False
        share = arm.slower_than(guards.p95_ratio * reference) / arm.answered
        return _is_beyond_chance(share, _SLOW_SHARE, 1 / arm.answered + spread)

    return is_slow(record.recent) or is_slow(record.step)


def _tau(guards: Guards, limit: float, record: Record) -> Finding:
    def mean(figures: Figures) -> float | None:
        mirrored = figures.mirrored
        return mirrored.mean_tau if mirrored.compared >= guards.min_requests else None

    value, standing = _standing(record, mean, lambda found: found < limit)
    if record.is_alone and standing is Standing.OPEN:
        standing = Standing.HOLDS
    known = record.step.mirrored
    tau = "unknown" if value is None else f"{value:.3f}"
    text = (
        f"mean tau is {tau} ({known.compared} rankings compared in this step, "
        f"{known.failed} copies failed; at least {limit:g})"
    )
    return Finding("mirror_tau", standing, value, limit, text)


def _standing(
    record: Record, value_of: Callable[[Figures], float | None], breaks: Callable[[float], bool]
) -> tuple[float | None, Standing]:
    recent, step = value_of(record.recent), value_of(record.step)
    for value in _known(recent, step):
        if breaks(value):
            return value, Standing.BROKEN
    shown = step if recent is None else recent
    return shown, Standing.OPEN if step is None else Standing.HOLDS


def _known(*values: float | None) -> Iterator[float]:
    yield from (value for value in values if value is not None)
