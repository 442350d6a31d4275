"""What a reload changes, and how it came out: the difference between two wanted states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from rerank_server.core.placed import placed
from rerank_server.core.reconcile import is_settled, runs, serving_or_coming
from rerank_server.core.types import Fleet, Slot, State
from rerank_server.core.wanted import Wanted


@dataclass(frozen=True, slots=True)
class Plan:
    """Version names by what a change of config does to their processes."""

    started: tuple[str, ...]
    """A process is started: newly enabled, or replaced because its spec changed. Config order."""
    stopped: tuple[str, ...]
    """No longer enabled, or a cascade from now on, in the order they were first started."""
    kept: tuple[str, ...]
    """Its process goes on untouched. Config order, then those that had to stay."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a plan came out once everything in it has settled."""

    word: Literal["applied", "failed"]
    reasons: Mapping[str, str]


def plan(new: Wanted, fleet: Fleet) -> Plan:
    """Return what has to happen to the processes of this fleet to become `new`."""
    new = placed(new, fleet)
    enabled = [name for name, version in new.versions.items() if version.enabled]
    started: list[str] = []
    kept: list[str] = []
    for name in [name for name in enabled if not new.versions[name].cascade]:
        specs, slot = new.specs(name), fleet.slot(name)
        is_missing = any(serving_or_coming(slot, spec) is None for spec in specs)
        if is_missing or new.versions[name].waits is not None:
            started.append(name)
        elif specs or _is_in(slot, State.RUNNING):  # cannot be started: what runs stays
            kept.append(name)
    stopped = [
        name
        for name, slot in fleet.slots.items()
        if (name not in enabled or new.versions[name].cascade)
        and _is_in(slot, State.RUNNING, State.STARTING)
    ]
    return Plan(tuple(started), tuple(stopped), tuple(kept))


def carried_out(planned: Plan, fleet: Fleet) -> Plan:
    """Return what became of a plan, once all has settled: what has to stay was not stopped."""
    stayed = [name for name in planned.stopped if _is_in(fleet.slot(name), State.RUNNING)]
    stopped = tuple(name for name in planned.stopped if name not in stayed)
    return replace(planned, stopped=stopped, kept=(*planned.kept, *stayed))


def verdict(wanted: Wanted, fleet: Fleet) -> Verdict | None:
    """Return how the wanted state came out, or None while something is still under way.

    To be asked when `reconcile` finds nothing to do: an old process that runs then is one that
    has to stay.
    """
    reasons: dict[str, str] = {}
    for name, version in wanted.versions.items():
        slot = fleet.slot(name)
        failure = slot.failure_of(*version.specs)
        if version.problem is not None:
            reasons[name] = version.problem
        elif not is_settled(wanted, fleet, name):
            return None
        elif failure is not None and not all(runs(slot, spec) for spec in version.specs):
            reasons[name] = failure.reason
    for instance in fleet.instances():
        is_current = instance.spec in wanted.specs(instance.spec.version)
        if not is_current and instance.state is not State.RUNNING:
            return None
    return Verdict("failed" if reasons else "applied", MappingProxyType(reasons))


def _is_in(slot: Slot, *states: State) -> bool:
    return any(i.state in states for i in slot.instances)
