"""The gateway's life: one generation serves, a changed one is ready before the old one goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from rerank_server.core.backoff import delay
from rerank_server.core.types import CameLate

READY_TIMEOUT_S = 30.0
"""A gateway that takes longer to boot is killed."""
LAME_MARGIN_S = 1.0
"""Beyond its keep-alive time: by then each open connection was told to close, or closed."""
_BACKOFF_BASE_S = 0.2
_BACKOFF_CAP_S = 10.0
_STABLE_S = 30.0


@dataclass(frozen=True, slots=True)
class FrontSpec:
    """What a gateway process is started with; only a change of this needs a new one."""

    host: str
    port: int
    processes: int
    log_format: str
    log_level: str
    access_log: bool = True
    otlp_endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class FrontPolicy:
    """How long an old gateway may take to go."""

    stop_timeout_s: float
    """From TERM to KILL."""
    keep_alive_s: float
    """How long its clients' idle connections stay open."""


class FrontState(StrEnum):
    """Life of one gateway generation."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    LAME = "LAME"
    STOPPING = "STOPPING"


@dataclass(frozen=True, slots=True)
class FrontInstance:
    """One gateway generation: a gunicorn arbiter and its processes."""

    generation: int
    spec: FrontSpec
    state: FrontState
    since: float
    pid: int | None = None
    is_killed: bool = False
    doom: str | None = None
    """Why it is being killed, when it could not boot; None for an orderly end."""


@dataclass(frozen=True, slots=True)
class Front:
    """All gateway generations alive, and the memory of failed boots."""

    instances: tuple[FrontInstance, ...] = ()
    serial: int = 0
    restarts: int = 0
    attempt: int = 0
    retry_at: float = 0.0
    failed_spec: FrontSpec | None = None
    """The spec of a replacement that could not boot; the old one serves until it changes."""
    reason: str | None = None

    @property
    def published(self) -> int:
        """Return the generation that serves: older ones answer `Connection: close`."""
        serving = [i.generation for i in self.instances if i.state is FrontState.RUNNING]
        return max(serving, default=0)


# --- events and actions -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FrontSpawned:
    """The gateway's process exists."""

    generation: int
    pid: int


@dataclass(frozen=True, slots=True)
class FrontReady:
    """All its processes accept connections."""

    generation: int


@dataclass(frozen=True, slots=True)
class FrontExited:
    """The arbiter is gone, and with it its processes."""

    generation: int
    detail: str


FrontEvent = FrontSpawned | FrontReady | FrontExited | CameLate


@dataclass(frozen=True, slots=True)
class StartFront:
    """Spawn a gateway."""

    generation: int
    spec: FrontSpec


@dataclass(frozen=True, slots=True)
class RetireFront:
    """Let it answer `Connection: close` to whoever still holds a connection."""

    generation: int


@dataclass(frozen=True, slots=True)
class StopFront:
    """TERM: finish what is in flight, then exit."""

    generation: int


@dataclass(frozen=True, slots=True)
class KillFront:
    """End it at once; with a reason when it failed to boot."""

    generation: int
    reason: str | None = None


FrontAction = StartFront | RetireFront | StopFront | KillFront


def apply_front(front: Front, event: FrontEvent, now: float) -> Front:
    """Return the gateway's state after `event`. Events of generations gone change nothing."""
    match event:
        case FrontSpawned(generation, pid):
            return _change(front, generation, lambda i: replace(i, pid=pid))
        case FrontReady(generation):
            instance = _find(front, generation)
            if instance is None or instance.state is not FrontState.STARTING:
                return front
            ready = _move(front, generation, FrontState.RUNNING, now)
            return replace(ready, failed_spec=None, reason=None)
        case FrontExited():
            return _exited(front, event, now)
        case CameLate(by_s):
            later = tuple(replace(i, since=i.since + by_s) for i in front.instances)
            return replace(front, instances=later)
        case _:
            assert_never(event)


def issue_front(front: Front, action: FrontAction, now: float) -> Front:
    """Return the gateway's state once `action` has been handed out."""
    match action:
        case StartFront(generation, spec):
            fresh = FrontInstance(generation, spec, FrontState.STARTING, now)
            return replace(front, instances=(*front.instances, fresh), serial=generation)
        case RetireFront(generation):
            return _move(front, generation, FrontState.LAME, now)
        case StopFront(generation):
            return _move(front, generation, FrontState.STOPPING, now)
        case KillFront(generation, reason):
            stopping = _move(front, generation, FrontState.STOPPING, now)
            return _change(stopping, generation, lambda i: replace(i, is_killed=True, doom=reason))
        case _:
            assert_never(action)


def reconcile_front(
    wanted: FrontSpec | None, front: Front, now: float, policy: FrontPolicy
) -> list[FrontAction]:
    """Return what is due for the gateway now; `wanted` None asks for its end."""
    actions: list[FrontAction] = []
    successor_runs = any(
        i.spec == wanted and i.state is FrontState.RUNNING for i in front.instances
    )
    for instance in front.instances:
        due = now >= _deadline(instance, policy)
        match instance.state:
            case FrontState.STARTING if wanted is None or instance.spec != wanted:
                actions.append(KillFront(instance.generation))
            case FrontState.STARTING if due:
                reason = f"the gateway did not boot within {READY_TIMEOUT_S:g} s"
                actions.append(KillFront(instance.generation, reason))
            case FrontState.RUNNING if wanted is None:
                actions.append(StopFront(instance.generation))
            case FrontState.RUNNING if instance.spec != wanted and successor_runs:
                actions.append(RetireFront(instance.generation))
            case FrontState.LAME if due or wanted is None:
                actions.append(StopFront(instance.generation))
            case FrontState.STOPPING if due and not instance.is_killed:
                actions.append(KillFront(instance.generation))
    if wanted is not None and _needs_start(wanted, front) and now >= front.retry_at:
        actions.append(StartFront(front.serial + 1, wanted))
    return actions


def next_front_deadline(
    wanted: FrontSpec | None, front: Front, policy: FrontPolicy
) -> float | None:
    """Return the earliest time at which `reconcile_front` may find something new."""
    times = [
        _deadline(i, policy)
        for i in front.instances
        if i.state is not FrontState.RUNNING and not i.is_killed
    ]
    if wanted is not None and _needs_start(wanted, front):
        times.append(front.retry_at)
    return min(times, default=None)


def _deadline(instance: FrontInstance, policy: FrontPolicy) -> float:
    match instance.state:
        case FrontState.STARTING:
            return instance.since + READY_TIMEOUT_S
        case FrontState.RUNNING:
            return float("inf")
        case FrontState.LAME:
            return instance.since + policy.keep_alive_s + LAME_MARGIN_S
        case FrontState.STOPPING:
            return instance.since + policy.stop_timeout_s
        case _:
            assert_never(instance.state)


def _needs_start(wanted: FrontSpec, front: Front) -> bool:
    coming = (FrontState.STARTING, FrontState.RUNNING)
    if any(i.spec == wanted and i.state in coming for i in front.instances):
        return False
    if any(i.doom is not None for i in front.instances):
        return False  # its end will be counted, and decides how long to wait
    old_serves = any(i.state is FrontState.RUNNING for i in front.instances)
    return not (old_serves and front.failed_spec == wanted)


def _exited(front: Front, event: FrontExited, now: float) -> Front:
    instance = _find(front, event.generation)
    if instance is None:
        return front
    rest = replace(front, instances=tuple(i for i in front.instances if i is not instance))
    could_not_boot = instance.state is FrontState.STARTING or instance.doom is not None
    is_failure = could_not_boot or instance.state is FrontState.RUNNING
    if not is_failure:
        return rest
    was_stable = instance.state is FrontState.RUNNING and now - instance.since >= _STABLE_S
    attempt = 0 if was_stable else front.attempt + 1
    wait_s = 0.0
    if attempt > 1:
        wait_s = delay("gateway", attempt - 1, base_s=_BACKOFF_BASE_S, cap_s=_BACKOFF_CAP_S)
    return replace(
        rest,
        restarts=front.restarts + 1,
        attempt=attempt,
        retry_at=now + wait_s,
        failed_spec=instance.spec if could_not_boot else None,
        reason=instance.doom or event.detail,
    )


def _find(front: Front, generation: int) -> FrontInstance | None:
    return next((i for i in front.instances if i.generation == generation), None)


def _move(front: Front, generation: int, state: FrontState, now: float) -> Front:
    return _change(front, generation, lambda i: replace(i, state=state, since=now))


def _change(
    front: Front, generation: int, change: Callable[[FrontInstance], FrontInstance]
) -> Front:
    changed = tuple(change(i) if i.generation == generation else i for i in front.instances)
    return replace(front, instances=changed)
