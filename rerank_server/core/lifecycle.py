"""How the fleet changes: `apply` takes in what happened, `issue` what is about to be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import assert_never

from rerank_server.core import wire
from rerank_server.core.backoff import delay
from rerank_server.core.devices import GpusSeen, WasMoved
from rerank_server.core.memory import CONTEXT_BYTES, learn, release_of
from rerank_server.core.routing import FallbackReason
from rerank_server.core.sight import postpone, see
from rerank_server.core.types import (
    Action,
    Beaten,
    BecameReady,
    CameLate,
    Drain,
    Drained,
    Event,
    Exited,
    Failure,
    Fleet,
    Instance,
    Kill,
    SaidFarewell,
    Slot,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    WasReset,
)
from rerank_server.core.wanted import Policy, Wanted


def apply(fleet: Fleet, event: Event, now: float, policy: Policy) -> Fleet:
    """Return the fleet after `event`. Events of instances that are gone change nothing."""
    match event:
        case Spawned(instance, pid):
            return _change(fleet, instance, lambda i: replace(i, pid=pid, beat_at=now))
        case SpawnFailed(instance, reason):
            return _end(fleet, instance, f"could not be spawned: {reason}", now, policy)
        case BecameReady(instance, info):
            return _change(fleet, instance, lambda i: _ready(i, info, now))
        case Beaten(instance):
            return _beaten(fleet, event, now)
        case Drained(instance):
            return _change(fleet, instance, lambda i: replace(i, is_drained=True, in_flight=0))
        case SaidFarewell(instance, farewell):
            return _change(fleet, instance, lambda i: replace(i, farewell=farewell))
        case Exited(instance, code, detail):
            return _end(fleet, instance, detail, now, policy, code=code)
        case WasReset(version):
            return _put(fleet, _forgiven(fleet.slot(version)))
        case CameLate(by_s):
            return _shift(fleet, by_s)
        case GpusSeen(sight):
            return see(fleet, sight)
        case WasMoved(version, hand):
            placement = replace(fleet.devices.placement(version), hand=hand)
            return replace(fleet, devices=fleet.devices.with_placement(version, placement))
        case _:
            assert_never(event)


def issue_all(fleet: Fleet, actions: Sequence[Action], now: float) -> Fleet:
    """Return the fleet as it is once all actions have been handed out, in this order."""
    for action in actions:
        fleet = issue(fleet, action, now)
    return fleet


def issue(fleet: Fleet, action: Action, now: float) -> Fleet:
    """Return the fleet as it is once `action` has been handed out."""
    match action:
        case Start(instance, spec):
            slot = fleet.slot(spec.version)
            fresh = Instance(instance, spec, State.STARTING, now, now, now)
            again = slot.failure_of(spec) is not None
            return _put(
                fleet,
                replace(
                    slot,
                    instances=(*slot.instances, fresh),
                    serial=slot.serial + 1,
                    restarts=slot.restarts + again,
                ),
            )
        case Drain(instance):
            return _change(fleet, instance, lambda i: replace(i, state=State.DRAINING, since=now))
        case Stop(instance):
            return _change(fleet, instance, lambda i: replace(i, state=State.STOPPING, since=now))
        case Kill(instance, reason, is_failure):
            return _change(
                fleet,
                instance,
                lambda i: replace(
                    i,
                    state=State.STOPPING,
                    since=now,
                    is_killed=True,
                    doom=reason if is_failure else i.doom,
                ),
            )
        case _:
            assert_never(action)


def forget(wanted: Wanted, fleet: Fleet) -> Fleet:
    """Return the fleet without the failures of what is no longer wanted: it may be tried anew."""
    for slot in fleet.slots.values():
        version = wanted.versions.get(slot.version)
        if version is not None and version.enabled and version.waits is not None:
            continue  # it gets a device soon, and may have failed on the same before
        if slot.failure is not None and slot.failure_of(*wanted.specs(slot.version)) is None:
            fleet = _put(fleet, _forgiven(slot))
    return fleet


def next_id(slot: Slot, ahead: int = 0) -> str:
    """Return the id of the slot's next instance: never used before by this supervisor.

    `ahead` others of the slot are started before it.
    """
    return f"{slot.version}.{slot.serial + 1 + ahead}"


def _ready(instance: Instance, info: Mapping[str, str], now: float) -> Instance:
    if instance.state is not State.STARTING:
        return instance
    return replace(
        instance,
        state=State.RUNNING,
        since=now,
        ready_at=now,
        beat_at=now,
        batch_started_at=None,  # an earlier beat may have told of the warm-up pass
        info=info,
    )


def _end(
    fleet: Fleet,
    instance_id: str,
    detail: str,
    now: float,
    policy: Policy,
    *,
    code: int | None = None,
) -> Fleet:
    """Take the instance out; unless it was told to go, its end counts against its version."""
    instance = fleet.find(instance_id)
    if instance is None:
        return fleet
    release = release_of(instance, fleet.devices, now)
    if release is not None:
        devices = replace(fleet.devices, releases=(*fleet.devices.releases, release))
        fleet = replace(fleet, devices=devices)
    slot = fleet.slot(instance.spec.version)
    slot = replace(slot, instances=tuple(i for i in slot.instances if i.id != instance_id))
    was_told = instance.state in (State.DRAINING, State.STOPPING)
    if was_told and instance.doom is None:
        return _put(fleet, slot)
    reason = detail
    is_final = code == wire.EXIT_WOULD_FAIL_AGAIN
    if instance.farewell is not None:
        reason = f"{instance.farewell.reason}\n{detail}"
        is_final = instance.farewell.would_fail_again
    elif instance.doom is not None:
        reason = f"{instance.doom}\n{detail}"
    cause = _cause(instance, code)
    return _put(
        fleet, _remember(slot, instance, reason, now, policy, cause=cause, is_final=is_final)
    )


def _cause(instance: Instance, code: int | None) -> FallbackReason | None:
    """Return what of its card ended a process, if that did."""
    if not instance.spec.gpu:
        return None
    if code == wire.EXIT_NO_DEVICE_MEMORY:
        return FallbackReason.GPU_MEMORY
    return instance.farewell.cause if instance.farewell is not None else None


def _beaten(fleet: Fleet, beat: Beaten, now: float) -> Fleet:
    instance = fleet.find(beat.instance)
    if instance is None:
        return fleet
    devices = fleet.devices
    gpu_bytes = instance.gpu_memory_bytes
    if instance.spec.gpu and beat.gpu_memory_bytes:
        gpu_bytes = max(gpu_bytes, beat.gpu_memory_bytes + CONTEXT_BYTES)
    if instance.state is State.RUNNING:
        used = gpu_bytes if instance.spec.gpu else beat.memory_bytes
        devices = learn(devices, instance.spec, used)
    alive = replace(
        instance,
        beat_at=now,
        in_flight=beat.in_flight,
        batch_started_at=beat.batch_started_at,
        unhealthy=beat.unhealthy,
        memory_bytes=beat.memory_bytes,
        gpu_memory_bytes=gpu_bytes,
    )
    return _change(replace(fleet, devices=devices), beat.instance, lambda _: alive)


def _remember(
    slot: Slot,
    instance: Instance,
    reason: str,
    now: float,
    policy: Policy,
    *,
    cause: FallbackReason | None,
    is_final: bool,
) -> Slot:
    known = slot.failure_of(instance.spec)
    if known is None and slot.failure is not None and instance.spawned_at < slot.failed_at[-1]:
        return slot  # what was to replace it has failed since, and that is not forgiven
    if _was_stable(instance, policy):
        known = None
    attempt = 1 if known is None else known.attempt + 1
    earlier = () if known is None else slot.failed_at
    recent = (*(t for t in earlier if now - t < policy.failure_window_s), now)
    retry_at: float | None = None
    if not is_final and len(recent) >= policy.failure_limit:
        reason = f"failed {len(recent)} times in {policy.failure_window_s:.0f} s; last: {reason}"
    elif not is_final:
        wait_s = delay(
            slot.version, attempt, base_s=policy.backoff_base_s, cap_s=policy.backoff_cap_s
        )
        retry_at = now + wait_s
    failure = Failure(instance.spec, reason, attempt, retry_at, cause)
    return replace(slot, failure=failure, failed_at=recent)


def _was_stable(instance: Instance, policy: Policy) -> bool:
    """Tell whether it ran well for so long that earlier failures no longer count."""
    if instance.ready_at is None:
        return False
    well_until = instance.beat_at
    if instance.batch_started_at is not None:
        well_until = min(well_until, instance.batch_started_at)
    return well_until - instance.ready_at >= policy.stable_s


def _forgiven(slot: Slot) -> Slot:
    return replace(slot, failure=None, failed_at=())


def _shift(fleet: Fleet, by_s: float) -> Fleet:
    def moved(at: float | None) -> float | None:
        return None if at is None else at + by_s

    def later(i: Instance) -> Instance:
        return replace(
            i,
            since=i.since + by_s,
            spawned_at=i.spawned_at + by_s,
            beat_at=i.beat_at + by_s,
            batch_started_at=moved(i.batch_started_at),
            ready_at=moved(i.ready_at),
        )

    slots = {
        name: replace(
            slot,
            instances=tuple(later(i) for i in slot.instances),
            failed_at=tuple(at + by_s for at in slot.failed_at),
        )
        for name, slot in fleet.slots.items()
    }
    return replace(fleet, slots=MappingProxyType(slots), devices=postpone(fleet.devices, by_s))


def _change(fleet: Fleet, instance_id: str, change: Callable[[Instance], Instance]) -> Fleet:
    instance = fleet.find(instance_id)
    if instance is None:
        return fleet
    slot = fleet.slot(instance.spec.version)
    changed = tuple(change(i) if i.id == instance_id else i for i in slot.instances)
    return _put(fleet, replace(slot, instances=changed))


def _put(fleet: Fleet, slot: Slot) -> Fleet:
    return replace(fleet, slots=MappingProxyType({**fleet.slots, slot.version: slot}))
