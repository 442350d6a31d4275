"""What to do next: the difference between what is wanted and what runs, as a list of actions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from rerank_server.core.lifecycle import next_id
from rerank_server.core.served import is_lent, is_running, serves
from rerank_server.core.types import Action, Drain, Fleet, Instance, Kill, Slot, Start, State, Stop
from rerank_server.core.wanted import Policy, Wanted, WantedVersion, WorkerSpec

_START_TIMEOUT_S = 300.0
_MAX_BATCH_S = 120.0
"""For a process whose version the config does not name any more; as the config's own defaults."""


def reconcile(wanted: Wanted, fleet: Fleet, now: float, policy: Policy) -> list[Action]:
    """Return the actions due now, at most one per instance.

    Call again after issuing them, until it returns nothing; then sleep until an event or
    `next_deadline`. A fleet that has settled gets no action.
    """
    actions: list[Action] = []
    for instance in fleet.instances():
        due = _due(instance, wanted, policy)
        if due is not None and now >= due[0]:
            actions.append(due[1])
    touched = {a.instance for a in actions}
    actions += [a for a in _drains(wanted, fleet, policy) if a.instance not in touched]
    actions += _starts(wanted, fleet, now, policy)
    return actions


def next_deadline(wanted: Wanted, fleet: Fleet, policy: Policy) -> float | None:
    """Return the earliest time at which `reconcile` may find something new without an event."""
    dues = [due for i in fleet.instances() if (due := _due(i, wanted, policy)) is not None]
    retries = [
        slot.failure.retry_at
        for slot in fleet.slots.values()
        if slot.failure is not None and slot.failure.retry_at is not None
    ]
    times = [due[0] for due in dues]
    # A retry that will still wait for its turn then is woken by what ends the wait.
    times += [at for at in retries if _starts(wanted, fleet, at, policy)]
    return min(times, default=None)


def is_settled(wanted: Wanted, fleet: Fleet, name: str) -> bool:
    """Tell whether `name` is done starting: it runs, cannot run, or failed at least once."""
    version, slot = wanted.versions.get(name), fleet.slot(name)
    if version is None or not version.enabled:
        return True
    if slot.failure_of(*version.specs) is not None:
        return True
    return version.waits is None and all(runs(slot, spec) for spec in version.specs)


def runs(slot: Slot, spec: WorkerSpec) -> bool:
    """Tell whether a process of exactly `spec` answers requests."""
    return any(i.spec == spec and i.state is State.RUNNING for i in slot.instances)


def serving_or_coming(slot: Slot, spec: WorkerSpec) -> Instance | None:
    """Return the instance that runs or will run exactly `spec`."""
    alive = (State.STARTING, State.RUNNING)
    return next((i for i in slot.instances if i.spec == spec and i.state in alive), None)


# --- deadlines ----------------------------------------------------------------------------------


def _due(instance: Instance, wanted: Wanted, policy: Policy) -> tuple[float, Kill | Stop] | None:
    """Return when this instance is overdue in its present state, and what is to be done then."""
    version = wanted.versions.get(instance.spec.version)
    match instance.state:
        case State.STARTING:
            limit_s = _START_TIMEOUT_S if version is None else version.start_timeout_s
            late = Kill(instance.id, f"not ready within {limit_s:g} s", is_failure=True)
            return instance.spawned_at + limit_s, late
        case State.RUNNING:
            at, why = _hang(instance, version, policy)
            return at, Kill(instance.id, why, is_failure=True)
        case State.DRAINING:
            end = instance.since if instance.is_drained else instance.since + policy.drain_timeout_s
            at, why = _hang(instance, version, policy)
            if end <= at:
                return end, Stop(instance.id)
            return at, Kill(instance.id, why, is_failure=False)
        case State.STOPPING:
            if instance.is_killed:
                return None
            stuck = Kill(instance.id, "did not exit when told to", is_failure=False)
            return instance.since + policy.stop_grace_s, stuck
        case _:
            assert_never(instance.state)


def _hang(instance: Instance, version: WantedVersion | None, policy: Policy) -> tuple[float, str]:
    """Return when it is given up on unless it gives a sign of life, and how that is said."""
    if instance.unhealthy is not None:
        return instance.beat_at, f"unhealthy: {instance.unhealthy}"
    beat = instance.beat_at + policy.beat_timeout_s
    lost = f"hung: no sign of life for {policy.beat_timeout_s:g} s"
    if instance.batch_started_at is None:
        return beat, lost
    limit_s = _MAX_BATCH_S if version is None else version.max_batch_s
    batch = instance.batch_started_at + limit_s
    return min((beat, lost), (batch, f"hung: one batch ran longer than {limit_s:g} s"))


# --- drains -------------------------------------------------------------------------------------


def _drains(wanted: Wanted, fleet: Fleet, policy: Policy) -> Iterator[Drain | Kill]:
    """Yield the ends of instances that nobody wants any more."""
    for slot in fleet.slots.values():
        specs = wanted.specs(slot.version)
        for instance in [i for i in slot.instances if i.spec not in specs]:
            if instance.state is State.STARTING:
                yield Kill(instance.id, "no longer wanted", is_failure=False)
            elif instance.state is State.RUNNING:
                reason = _why_drain(wanted, fleet, instance, policy)
                if reason is not None:
                    yield Drain(instance.id, reason)


def _why_drain(wanted: Wanted, fleet: Fleet, old: Instance, policy: Policy) -> str | None:
    """Return why an old instance may go now; None while it has to stay."""
    slot = fleet.slot(old.spec.version)
    version = wanted.versions.get(slot.version)
    if version is not None and version.enabled and version.cascade:  # it was none before
        return "replaced" if serves(fleet, slot.version, by_stages=True) else None
    if version is not None and version.enabled:
        successor = next((s for s in version.specs if s.replica == old.spec.replica), None)
        if successor is None:
            # A replica too many goes at once; one that has no device yet keeps serving.
            is_surplus = version.spec is not None and old.spec.replica >= version.replicas
            is_surplus = is_surplus and any(runs(slot, spec) for spec in version.specs)
            return "no longer wanted" if is_surplus else None
        may_go = runs(slot, successor) or _goes_first(wanted, fleet, policy) == successor
        return "replaced" if may_go else None
    is_default = wanted.default != "" and slot.version == fleet.default
    if is_default and not serves(fleet, wanted.default):
        return None  # the default route still needs it
    if is_lent(wanted, fleet, slot.version):
        return None  # so does a cascade whose new stages do not run
    all_settled = all(is_settled(wanted, fleet, name) for name in wanted.versions)
    return "no longer wanted" if all_settled else None


def _goes_first(wanted: Wanted, fleet: Fleet, policy: Policy) -> WorkerSpec | None:
    """Return the spec whose predecessor may go before it starts, if any may.

    One at a time, and only when the successor can start as soon as the old one has gone.
    """
    if _is_replacing(wanted, fleet):
        return None
    waiting = [name for name in _in_order(wanted, fleet) if not is_settled(wanted, fleet, name)]
    if not all(is_running(fleet.slot(name)) for name in waiting):
        return None
    first = next(iter(waiting), None)
    if first is None or wanted.versions[first].replace != "stop_first":
        return None
    slot = fleet.slot(first)
    spec = next((s for s in wanted.specs(first) if serving_or_coming(slot, s) is None), None)
    can_start = spec is not None and _has_room(fleet, [], spec, policy)
    return spec if can_start and spec not in wanted.versions[first].held else None


# --- starts -------------------------------------------------------------------------------------


def _starts(wanted: Wanted, fleet: Fleet, now: float, policy: Policy) -> list[Start]:
    """Return the starts that may begin now, in free slots; one replacement at a time."""
    is_replacing = _is_replacing(wanted, fleet)
    starts: list[Start] = []
    for name in _in_order(wanted, fleet):
        version, slot = wanted.versions[name], fleet.slot(name)
        for spec in version.specs:
            if spec in version.held or not _may_start(slot, spec, now):
                continue
            if not _has_room(fleet, starts, spec, policy):
                continue
            old = [i for i in slot.instances if i.spec.replica == spec.replica]
            is_replacement = any(i.state is State.RUNNING for i in old)
            if is_replacement and is_replacing:
                continue
            is_replacing = is_replacing or is_replacement
            if old and version.replace == "stop_first":
                continue
            number = sum(start.spec.version == name for start in starts)
            starts.append(Start(next_id(slot, number), spec))
    return starts


def _in_order(wanted: Wanted, fleet: Fleet) -> list[str]:
    """Return the wanted names as they take turns: default, first tries, retries; config order."""

    def rank(name: str) -> tuple[bool, bool]:
        failure = fleet.slot(name).failure_of(*wanted.specs(name))
        return not wanted.is_default(name), failure is not None

    return sorted(wanted.versions, key=rank)


def _may_start(slot: Slot, spec: WorkerSpec, now: float) -> bool:
    if serving_or_coming(slot, spec) is not None:
        return False
    if any(i.doom is not None for i in slot.instances):
        return False  # its end will be counted, and decides how long to wait
    failure = slot.failure_of(spec)
    return failure is None or (failure.retry_at is not None and now >= failure.retry_at)


def _has_room(fleet: Fleet, starts: list[Start], spec: WorkerSpec, policy: Policy) -> bool:
    """Tell whether one more may start: one at a time on each card, a few on the CPU."""
    coming = [i.spec for i in fleet.instances() if i.state is State.STARTING]
    coming += [start.spec for start in starts]
    beside = sum(other.gpu == spec.gpu for other in coming)
    return beside < (1 if spec.gpu else policy.start_slots)


def _is_replacing(wanted: Wanted, fleet: Fleet) -> bool:
    """Tell whether some version is between two generations at this moment."""
    for slot in fleet.slots.values():
        specs = wanted.specs(slot.version)
        if not specs:
            continue
        old = [i for i in slot.instances if i.spec not in specs]
        is_leaving = any(i.state is not State.RUNNING for i in old)
        new = {i.spec.replica for i in slot.instances if i.spec in specs}
        has_both = any(i.spec.replica in new for i in old)
        is_coming_back = slot.serial > len(slot.instances) and not is_running(slot)
        if is_leaving or has_both or (is_coming_back and slot.failure_of(*specs) is None):
            return True
    return False
