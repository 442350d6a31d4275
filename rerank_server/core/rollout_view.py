"""What state.json says of the rollout, and how people read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from rerank_server.core import fields
from rerank_server.core.rollout import State

_WIDTH = 12


@dataclass(frozen=True, slots=True)
class GuardView:
    """One guard as it stood."""

    guard: str
    standing: str
    text: str


@dataclass(frozen=True, slots=True)
class RolloutView:
    """The last rollout."""

    to: str
    state: State
    share: float
    step: int
    """Which one, counted from 1; 0 before the first, and one more than there are once promoted
    beyond them."""
    steps: tuple[float, ...]
    interval_s: float
    elapsed_s: float
    reason: str | None
    guards: tuple[GuardView, ...]
    json: Mapping[str, object] = field(compare=False)
    """All of it, as it was published."""


def read(state: Mapping[str, object]) -> RolloutView | None:
    """Read the object of state.json.

    Raises:
        ValueError: a value is missing or of the wrong type.
    """
    if "rollout" not in state:  # of a server before there were rollouts
        return None
    holder = fields.section(state, "rollout")
    if holder.get("current") is None:
        return None
    current = fields.section(holder, "current")
    steps, findings = current.get("steps"), current.get("findings")
    if not (isinstance(steps, list) and isinstance(findings, list)):
        raise ValueError("rollout: steps and findings must be lists")
    return RolloutView(
        to=fields.text(current, "to"),
        state=State(fields.text(current, "state")),
        share=fields.number(current, "share"),
        step=fields.integer(current, "step"),
        steps=tuple(float(share) for share in steps),
        interval_s=fields.number(current, "interval_s"),
        elapsed_s=fields.number(current, "elapsed_s"),
        reason=fields.optional_text(current, "reason"),
        guards=tuple(_guard(fields.as_section(found, "findings")) for found in findings),
        json=current,
    )


def _guard(found: Mapping[str, object]) -> GuardView:
    return GuardView(*(fields.text(found, key) for key in ("guard", "standing", "text")))


def line(view: RolloutView) -> str:
    """Return the line of `status`: `rollout: v2-gemma running at 5%, step 2 of 5`."""
    if view.state in (State.RUNNING, State.PAUSED):
        return f"rollout: {view.to} {view.state} at {view.share:g}%, {_step(view)}"
    return f"rollout: {view.to} {view.state} at {view.share:g}%"


def lines(view: RolloutView) -> list[str]:
    """Return what `rollout status` prints: the line, then why, then each guard."""
    found = [line(view).removeprefix("rollout: ")]
    if view.state in (State.RUNNING, State.PAUSED) and view.step:
        found.append(f"  {'time':<{_WIDTH}}{view.elapsed_s:.0f} s of {view.interval_s:g} s")
    if view.reason is not None:
        found.append(f"  {'reason':<{_WIDTH}}{view.reason}")
    found += [f"  {g.guard:<{_WIDTH}}{g.standing}: {g.text}" for g in view.guards if view.step]
    return found


def advice(view: RolloutView) -> str:
    """Return what an operator can do next."""
    match view.state:
        case State.RUNNING if not view.step:
            return f"it begins once {view.to} runs: rerank-server status"
        case State.RUNNING:
            return "it goes on by itself; rerank-server rollout pause, abort or promote"
        case State.PAUSED:
            return "to go on: rerank-server rollout resume"
        case State.ABORTED:
            return f"to begin anew: rerank-server rollout start {view.to}"
        case State.DONE:
            more = "" if view.share == 100 else "rerank-server rollout promote, then "
            return (
                f"to finish: {more}make {view.to} the default_version in config.yaml, take the "
                "rollout section out and reload"
            )
        case _:
            assert_never(view.state)


def _step(view: RolloutView) -> str:
    if not view.step:
        return f"waits until {view.to} runs"
    if view.step > len(view.steps):
        return "promoted"
    return f"step {view.step} of {len(view.steps)}"
