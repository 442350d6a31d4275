"""What an operator may tell a rollout to do, and when."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from rerank_server.core.rollout import Course, Rollout, State, abort, pause, promote, resume
from rerank_server.errors import UsageError


class Order(StrEnum):
    """What is told to the rollout there is; to start one is another thing."""

    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    PROMOTE = "promote"


PAST = {
    Order.PAUSE: "paused",
    Order.RESUME: "resumed",
    Order.ABORT: "aborted",
    Order.PROMOTE: "promoted",
}


def obey(rollout: Rollout | None, order: Order, why: str) -> Rollout:
    """Return the rollout after an order.

    Raises:
        UsageError: there is none that could take it.
    """
    if rollout is None:
        raise UsageError("there is no rollout; begin one with: rerank-server rollout start")
    to = rollout.course.to
    if rollout.state is State.ABORTED:
        raise UsageError(
            f"the rollout to {to} was aborted; begin it anew with: rerank-server rollout start {to}"
        )
    match order:
        case Order.PAUSE | Order.RESUME:
            if not rollout.is_active:
                raise UsageError(f"the rollout to {to} is done; there is nothing to {order}")
            return pause(rollout) if order is Order.PAUSE else resume(rollout)
        case Order.ABORT:
            return abort(rollout, why)
        case Order.PROMOTE:
            return promote(rollout)
        case _:
            assert_never(order)


def started(rollout: Rollout | None, course: Course) -> Rollout:
    """Return a new rollout.

    Raises:
        UsageError: another one is under way, or holds traffic.
    """
    if rollout is not None and rollout.state is not State.ABORTED:
        to = rollout.course.to
        if not rollout.is_active:
            raise UsageError(_held(rollout))
        raise UsageError(
            f"a rollout to {to} is under way; end it first: rerank-server rollout abort"
        )
    return Rollout(course)


def holding(rollout: Rollout | None) -> str | None:
    """Return why nobody else sets shares now; None where the rollout decides none."""
    if rollout is None or rollout.state is State.ABORTED:
        return None
    to = rollout.course.to
    if rollout.is_active:
        return (
            f"a rollout to {to} is under way and decides the shares; end it first: "
            "rerank-server rollout abort"
        )
    return _held(rollout)


def _held(rollout: Rollout) -> str:
    """Return what to do with one that is done, which it would be wrong to just end."""
    return (
        f"{rollout.course.to} holds {rollout.share:g}% after its rollout; make it the "
        "default_version and reload, or take all of it back: rerank-server rollout abort"
    )


def means_resume(rollout: Rollout | None, to: str | None, has_options: bool) -> bool:
    """Tell whether who asks to start wants the paused rollout to go on."""
    if rollout is None or rollout.state is not State.PAUSED or has_options:
        return False
    return to is None or to == rollout.course.to
