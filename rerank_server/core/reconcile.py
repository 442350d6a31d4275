"""What to do next: the difference between what is wanted and what runs, as a list of actions."""

from __future__ import annotations

from collections.abc import Iterator

from rerank_server.core.lifecycle import next_id
from rerank_server.core.types import (
    Action,
    Drain,
    Fleet,
    Instance,
    Kill,
    Policy,
    Slot,
    Start,
    State,
    Stop,
    Wanted,
    WorkerSpec,
)


def reconcile(wanted: Wanted, fleet: Fleet, now: float, policy: Policy) -> list[Action]:
    """Return the actions due now, at most one per instance.

    Call again after issuing them, until it returns nothing; then sleep until an event or
    `next_deadline`. A fleet that has settled gets no action.
    """
    actions: list[Action] = []
    for instance in fleet.instances():
        action = _overdue(instance, wanted, now, policy)
        if action is not None:
            actions.append(action)
    touched = {a.instance for a in actions}
    actions += [a for a in _drains(wanted, fleet, now) if a.instance not in touched]
    actions += _starts(wanted, fleet, now, policy)
    return actions


def next_deadline(wanted: Wanted, fleet: Fleet, policy: Policy) -> float | None:
    """Return the earliest time at which `reconcile` may find something new without an event."""
    times = [t for i in fleet.instances() if (t := _deadline(i, wanted, policy)[0]) is not None]
    for name, slot in fleet.slots.items():
        failure = slot.failure
        if (
            failure is not None
            and failure.retry_at is not None
            and failure.spec == wanted.spec(name)
            and serving_or_coming(slot, failure.spec) is None
        ):
            times.append(failure.retry_at)
    return min(times, default=None)


def point_default(wanted: Wanted, fleet: Fleet) -> str | None:
    """Return the version the default route points at.

    It moves to the wanted default only when that one runs; until then it stays where it is as
    long as a process of that version runs.
    """
    if _is_running(fleet, wanted.default):
        return wanted.default
    if fleet.default is not None and _is_running(fleet, fleet.default):
        return fleet.default
    return wanted.default or fleet.default


def is_settled(wanted: Wanted, fleet: Fleet, name: str) -> bool:
    """Tell whether `name` is done starting: it runs, cannot run, or failed at least once."""
    spec = wanted.spec(name)
    if spec is None:
        return True
    slot = fleet.slot(name)
    if slot.failure is not None and slot.failure.spec == spec:
        return True
    current = serving_or_coming(slot, spec)
    return current is not None and current.state is State.RUNNING


def serving_or_coming(slot: Slot, spec: WorkerSpec) -> Instance | None:
    """Return the instance that runs or will run exactly `spec`."""
    return next(
        (
            i
            for i in slot.instances
            if i.spec == spec and i.state in (State.STARTING, State.RUNNING)
        ),
        None,
    )


# --- deadlines ----------------------------------------------------------------------------------


def _deadline(instance: Instance, wanted: Wanted, policy: Policy) -> tuple[float | None, str]:
    """Return when this instance is overdue in its present state, and for what."""
    version = wanted.versions.get(instance.spec.version)
    match instance.state:
        case State.STARTING:
            limit_s = version.start_timeout_s if version is not None else 300.0
            return instance.spawned_at + limit_s, f"not ready within {limit_s:g} s"
        case State.RUNNING:
            return _hang(instance, wanted, policy)
        case State.DRAINING:
            hang, reason = _hang(instance, wanted, policy)
            end = instance.since if instance.is_drained else instance.since + policy.drain_timeout_s
            return (end, "drained") if end <= hang else (hang, reason)
        case State.STOPPING:
            if instance.is_killed:
                return None, ""
            return instance.since + policy.stop_grace_s, "did not exit when told to"


def _hang(instance: Instance, wanted: Wanted, policy: Policy) -> tuple[float, str]:
    beat = instance.beat_at + policy.beat_timeout_s
    lost = f"hung: no sign of life for {policy.beat_timeout_s:g} s"
    if instance.batch_started_at is None:
        return beat, lost
    version = wanted.versions.get(instance.spec.version)
    limit_s = version.max_batch_s if version is not None else 120.0
    batch = instance.batch_started_at + limit_s
    return min((beat, lost), (batch, f"hung: one batch ran longer than {limit_s:g} s"))


def _overdue(instance: Instance, wanted: Wanted, now: float, policy: Policy) -> Action | None:
    deadline, reason = _deadline(instance, wanted, policy)
    if deadline is None or now < deadline:
        return None
    if instance.state is State.DRAINING and reason == "drained":
        return Stop(instance.id)
    is_failure = instance.state in (State.STARTING, State.RUNNING)
    return Kill(instance.id, reason, is_failure)


# --- drains -------------------------------------------------------------------------------------


def _drains(wanted: Wanted, fleet: Fleet, now: float) -> Iterator[Drain | Kill]:
    """Yield the ends of instances that nobody wants any more."""
    default_runs = _is_running(fleet, wanted.default)
    all_settled = all(is_settled(wanted, fleet, name) for name in wanted.versions)
    for slot in fleet.slots.values():
        spec = wanted.spec(slot.version)
        for instance in slot.instances:
            if spec is not None and instance.spec == spec:
                continue
            if instance.state is State.STARTING:
                yield Kill(instance.id, "no longer wanted", False)
            elif instance.state is not State.RUNNING:
                continue
            elif spec is not None:
                if _is_replaced(wanted, slot, spec):
                    yield Drain(instance.id, "replaced")
            elif _is_needed(wanted, fleet, slot.version, default_runs=default_runs):
                continue
            elif all_settled:
                yield Drain(instance.id, "no longer wanted")


def _is_needed(wanted: Wanted, fleet: Fleet, version: str, *, default_runs: bool) -> bool:
    """Tell whether a process without a wanted spec must go on: nothing better serves yet.

    Either its version is enabled, but the files found now cannot be started; or the default
    route still points at it.
    """
    configured = wanted.versions.get(version)
    if configured is not None and configured.enabled:
        return True
    return version == fleet.default and bool(wanted.default) and not default_runs


def _is_replaced(wanted: Wanted, slot: Slot, spec: WorkerSpec) -> bool:
    """Tell whether an old instance may go: its successor runs, or needs its room first."""
    if any(i.spec == spec and i.state is State.RUNNING for i in slot.instances):
        return True
    has_failed = slot.failure is not None and slot.failure.spec == spec
    return wanted.versions[slot.version].replace == "stop_first" and not has_failed


# --- starts -------------------------------------------------------------------------------------


def _starts(wanted: Wanted, fleet: Fleet, now: float, policy: Policy) -> list[Start]:
    """Return the starts that may begin now: default first, then config order, in free slots."""
    starting = [i for i in fleet.instances() if i.state is State.STARTING]
    free = policy.start_slots - len(starting)
    is_replacing = any(_is_mid_replacement(wanted, slot) for slot in fleet.slots.values())
    starts: list[Start] = []
    names = sorted(wanted.versions, key=lambda name: name != wanted.default)
    for name in names:
        if free <= 0:
            break
        spec = wanted.spec(name)
        slot = fleet.slot(name)
        if spec is None or not _may_start(slot, spec, now):
            continue
        is_replacement = any(i.state is State.RUNNING for i in slot.instances)
        if is_replacement and is_replacing:
            continue  # a changed global_config replaces one version after another
        if slot.instances and wanted.versions[name].replace == "stop_first":
            continue
        starts.append(Start(next_id(slot), spec))
        is_replacing = is_replacing or is_replacement
        free -= 1
    return starts


def _may_start(slot: Slot, spec: WorkerSpec, now: float) -> bool:
    if serving_or_coming(slot, spec) is not None:
        return False
    failure = slot.failure
    if failure is None or failure.spec != spec:
        return True
    return failure.retry_at is not None and now >= failure.retry_at


def _is_mid_replacement(wanted: Wanted, slot: Slot) -> bool:
    """Tell whether two generations of one version exist at this moment."""
    spec = wanted.spec(slot.version)
    return spec is not None and len({i.spec for i in slot.instances}) > 1


def _is_running(fleet: Fleet, version: str) -> bool:
    return any(i.state is State.RUNNING for i in fleet.slot(version).instances)
