"""A rollout as JSON: as it is kept from one server to the next, and as it is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

from rerank_server.core.evidence import (
    Figures,
    compared_from,
    compared_json,
    tally_from,
    tally_json,
)
from rerank_server.core.guards import Finding, Guards, Standing, judge
from rerank_server.core.rollout import Course, Rollout, State, Stretch, record_of


def rollout_json(rollout: Rollout) -> dict[str, object]:
    """Return the object that keeps a rollout."""
    return {
        "course": course_json(rollout.course),
        "state": rollout.state,
        "step": rollout.step,
        "elapsed_s": rollout.elapsed_s,
        "recent": [
            {"figures": _figures_json(s.figures), "duration_s": s.duration_s}
            for s in rollout.recent
        ],
        "total": _figures_json(rollout.total),
        "others_p95_s": rollout.others_p95_s,
        "findings": [finding_json(found) for found in rollout.findings],
        "silent_s": rollout.silent_s,
        "absent_s": rollout.absent_s,
        "awaited": rollout.is_awaited,
        "reason": rollout.reason,
    }


def rollout_from(obj: Mapping[str, object]) -> Rollout:
    """Read what `rollout_json` wrote.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is not that.
    """
    recent, findings, others = obj["recent"], obj["findings"], obj["others_p95_s"]
    if not (isinstance(recent, list) and isinstance(findings, list) and recent):
        raise TypeError("recent and findings must be lists")
    course = _course_from(_object(obj["course"]))
    number = int(str(obj["step"]))
    if not -1 <= number <= len(course.steps):
        raise ValueError(f"step: {number} is none of the course")
    return Rollout(
        course=course,
        state=State(str(obj["state"])),
        step=number,
        elapsed_s=_number(obj, "elapsed_s"),
        recent=tuple(
            Stretch(_figures_from(_object(s["figures"])), _number(s, "duration_s")) for s in recent
        ),
        total=_figures_from(_object(obj["total"])),
        others_p95_s=None if others is None else _number(obj, "others_p95_s"),
        findings=tuple(_finding_from(_object(found)) for found in findings),
        silent_s=_number(obj, "silent_s"),
        absent_s=_number(obj, "absent_s"),
        is_awaited=obj["awaited"] is True,
        reason=None if obj["reason"] is None else str(obj["reason"]),
    )


def course_json(course: Course) -> dict[str, object]:
    """Return what a rollout is to do, by the keys of the config."""
    return {
        "to": course.to,
        "steps": list(course.steps),
        "interval_s": course.interval_s,
        "guards": {
            "error_ratio": course.guards.error_ratio,
            "p95_ratio": course.guards.p95_ratio,
            "min_requests": course.guards.min_requests,
            "mirror_tau": course.guards.mirror_tau,
        },
    }


def finding_json(found: Finding) -> dict[str, object]:
    """Return what one guard said."""
    return {
        "guard": found.guard,
        "standing": found.standing,
        "value": found.value,
        "limit": found.limit,
        "text": found.text,
    }


def rollout_shown(rollout: Rollout) -> dict[str, object]:
    """Return what state.json says of a rollout, its guards as they stand now."""
    findings = rollout.findings
    if rollout.is_active:
        findings = judge(rollout.course.guards, record_of(rollout))
    return {
        **course_json(rollout.course),
        "state": rollout.state,
        "share": rollout.share,
        "step": rollout.step + 1,
        "elapsed_s": round(rollout.elapsed_s, 3),
        "reason": rollout.reason,
        "findings": [finding_json(found) for found in findings],
        "figures": figures_shown(rollout.total),
    }


def figures_shown(figures: Figures) -> dict[str, object]:
    """Return the figures that decide, for events and people."""
    arm, mirrored = figures.arm, figures.mirrored
    return {
        "requests": arm.requests,
        "errors": arm.errors,
        "p95_s": _rounded(arm.p95_s),
        "others_requests": figures.others.requests,
        "others_errors": figures.others.errors,
        "others_p95_s": _rounded(figures.others.p95_s),
        "compared": mirrored.compared,
        "copies_failed": mirrored.failed,
        "mean_tau": _rounded(mirrored.mean_tau),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _course_from(obj: Mapping[str, object]) -> Course:
    steps, guards = obj["steps"], _object(obj["guards"])
    tau = guards["mirror_tau"]
    if not isinstance(steps, list) or not steps:
        raise TypeError("steps must be a list")
    shares, interval_s = tuple(float(share) for share in steps), _number(obj, "interval_s")
    if not all(low < high for low, high in pairwise((0.0, *shares))) or not shares[-1] <= 100:
        raise ValueError(f"steps: {shares} do not rise from above 0 to at most 100")
    if interval_s <= 0:
        raise ValueError(f"interval_s: {interval_s:g} is not above 0")
    return Course(
        to=str(obj["to"]),
        steps=shares,
        interval_s=interval_s,
        guards=Guards(
            error_ratio=_number(guards, "error_ratio"),
            p95_ratio=_number(guards, "p95_ratio"),
            min_requests=int(str(guards["min_requests"])),
            mirror_tau=None if tau is None else _number(guards, "mirror_tau"),
        ),
    )


def _finding_from(obj: Mapping[str, object]) -> Finding:
    return Finding(
        guard=str(obj["guard"]),
        standing=Standing(str(obj["standing"])),
        value=None if obj["value"] is None else _number(obj, "value"),
        limit=_number(obj, "limit"),
        text=str(obj["text"]),
    )


def _figures_json(figures: Figures) -> dict[str, object]:
    return {
        "arm": tally_json(figures.arm),
        "others": tally_json(figures.others),
        "mirrored": compared_json(figures.mirrored),
    }


def _figures_from(obj: Mapping[str, object]) -> Figures:
    return Figures(
        tally_from(_object(obj["arm"])),
        tally_from(_object(obj["others"])),
        compared_from(_object(obj["mirrored"])),
    )


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return value


def _number(obj: Mapping[str, object], key: str) -> float:
    value = float(str(obj[key]))
    if not math.isfinite(value):
        raise ValueError(f"{key}: {value} is no number here")
    return value
