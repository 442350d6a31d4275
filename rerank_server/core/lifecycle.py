"""How the fleet changes: `apply` takes in what happened, `issue` what is about to be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import assert_never

from rerank_server.core import wire
from rerank_server.core.backoff import delay
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
    Policy,
    SaidFarewell,
    Slot,
    Spawned,
    SpawnFailed,
    Start,
    State,
    Stop,
    WasReset,
)


def apply(fleet: Fleet, event: Event, now: float, policy: Policy) -> Fleet:
    """Return the fleet after `event`. Events of instances that are gone change nothing."""
    match event:
        case Spawned(instance, pid):
            return _change(fleet, instance, lambda i: replace(i, pid=pid, beat_at=now))
        case SpawnFailed(instance, reason):
            return _end(fleet, instance, now, policy, f"could not be spawned: {reason}")
        case BecameReady(instance, info):
            return _ready(fleet, instance, info, now)
        case Beaten(instance, in_flight, batch_started_at):
            return _change(
                fleet,
                instance,
                lambda i: replace(
                    i, beat_at=now, in_flight=in_flight, batch_started_at=batch_started_at
                ),
            )
        case Drained(instance):
            return _change(fleet, instance, lambda i: replace(i, is_drained=True, in_flight=0))
        case SaidFarewell(instance, farewell):
            return _change(fleet, instance, lambda i: replace(i, farewell=farewell))
        case Exited():
            return _exited(fleet, event, now, policy)
        case WasReset(version):
            return _put(fleet, replace(fleet.slot(version), failure=None, failed_at=()))
        case CameLate(by_s):
            return _shift(fleet, by_s)
        case _:
            assert_never(event)


def issue(fleet: Fleet, action: Action, now: float) -> Fleet:
    """Return the fleet as it is once `action` has been handed out."""
    match action:
        case Start(instance, spec):
            slot = fleet.slot(spec.version)
            fresh = Instance(instance, spec, State.STARTING, now, now, now)
            again = slot.failure is not None and slot.failure.spec == spec
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


def next_id(slot: Slot) -> str:
    """Return the id of the slot's next instance: never used before by this supervisor."""
    return f"{slot.version}.{slot.serial + 1}"


def _ready(fleet: Fleet, instance_id: str, info: Mapping[str, str], now: float) -> Fleet:
    def change(i: Instance) -> Instance:
        if i.state is not State.STARTING:
            return i
        return replace(i, state=State.RUNNING, since=now, beat_at=now, info=info)

    return _change(fleet, instance_id, change)


def _exited(fleet: Fleet, event: Exited, now: float, policy: Policy) -> Fleet:
    instance_id = event.instance
    instance = fleet.find(instance_id)
    if instance is None:
        return fleet
    if instance.doom is not None:
        return _end(fleet, instance_id, now, policy, instance.doom)
    if instance.state in (State.DRAINING, State.STOPPING):
        return _end(fleet, instance_id, now, policy, None)
    if instance.farewell is not None:
        return _end(
            fleet,
            instance_id,
            now,
            policy,
            instance.farewell.reason,
            is_final=instance.farewell.would_fail_again,
        )
    is_final = event.code == wire.EXIT_WOULD_FAIL_AGAIN
    return _end(fleet, instance_id, now, policy, event.detail, is_final=is_final)


def _end(
    fleet: Fleet,
    instance_id: str,
    now: float,
    policy: Policy,
    reason: str | None,
    *,
    is_final: bool = False,
) -> Fleet:
    """Take the instance out; with a reason, its end counts against its version."""
    instance = fleet.find(instance_id)
    if instance is None:
        return fleet
    slot = fleet.slot(instance.spec.version)
    rest = tuple(i for i in slot.instances if i.id != instance_id)
    slot = replace(slot, instances=rest)
    if reason is not None:
        slot = _remember(slot, instance, reason, now, policy, is_final=is_final)
    return _put(fleet, slot)


def _remember(
    slot: Slot, instance: Instance, reason: str, now: float, policy: Policy, *, is_final: bool
) -> Slot:
    was_stable = instance.state is State.RUNNING and now - instance.since >= policy.stable_s
    same = slot.failure is not None and slot.failure.spec == instance.spec
    attempt = 1 if was_stable or slot.failure is None or not same else slot.failure.attempt + 1
    earlier = slot.failed_at if same and not was_stable else ()
    recent = (*(t for t in earlier if now - t < policy.failure_window_s), now)
    retry_at: float | None = None
    if not is_final and len(recent) >= policy.failure_limit:
        reason = f"failed {len(recent)} times in {policy.failure_window_s:.0f} s; last: {reason}"
    elif not is_final:
        wait_s = delay(
            slot.version, attempt, base_s=policy.backoff_base_s, cap_s=policy.backoff_cap_s
        )
        retry_at = now + wait_s
    failure = Failure(instance.spec, reason, attempt, retry_at)
    return replace(slot, failure=failure, failed_at=recent)


def _shift(fleet: Fleet, by_s: float) -> Fleet:
    def later(i: Instance) -> Instance:
        started = i.batch_started_at
        return replace(
            i,
            since=i.since + by_s,
            spawned_at=i.spawned_at + by_s,
            beat_at=i.beat_at + by_s,
            batch_started_at=None if started is None else started + by_s,
        )

    slots = {
        name: replace(slot, instances=tuple(later(i) for i in slot.instances))
        for name, slot in fleet.slots.items()
    }
    return replace(fleet, slots=MappingProxyType(slots))


def _change(fleet: Fleet, instance_id: str, change: Callable[[Instance], Instance]) -> Fleet:
    instance = fleet.find(instance_id)
    if instance is None:
        return fleet
    slot = fleet.slot(instance.spec.version)
    changed = tuple(change(i) if i.id == instance_id else i for i in slot.instances)
    return _put(fleet, replace(slot, instances=changed))


def _put(fleet: Fleet, slot: Slot) -> Fleet:
    return replace(fleet, slots=MappingProxyType({**fleet.slots, slot.version: slot}))
