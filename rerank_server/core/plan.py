"""What a reload changes, and how it came out: the difference between two wanted states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from rerank_server.core.reconcile import is_settled
from rerank_server.core.types import Fleet, State, Wanted


@dataclass(frozen=True, slots=True)
class Plan:
    """Version names by what a change of config does to their processes, in config order."""

    started: tuple[str, ...]
    """A process is started: newly enabled, or replaced because its spec changed."""
    stopped: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a plan came out once everything in it has settled."""

    word: Literal["applied", "failed"]
    reasons: Mapping[str, str]


def plan(new: Wanted, fleet: Fleet) -> Plan:
    """Return what has to happen to the processes of this fleet to become `new`."""
    started: list[str] = []
    kept: list[str] = []
    for name in new.versions:
        spec = new.spec(name)
        if spec is None:
            continue
        alive = (State.STARTING, State.RUNNING)
        is_there = any(i.spec == spec and i.state in alive for i in fleet.slot(name).instances)
        (kept if is_there else started).append(name)
    stopped = [
        name
        for name, slot in fleet.slots.items()
        if new.spec(name) is None and any(i.state is State.RUNNING for i in slot.instances)
    ]
    return Plan(tuple(started), tuple(stopped), tuple(kept))


def verdict(wanted: Wanted, fleet: Fleet) -> Verdict | None:
    """Return how the wanted state came out, or None while something is still under way."""
    reasons: dict[str, str] = {}
    for name, version in wanted.versions.items():
        if not version.enabled:
            continue
        if version.problem is not None:
            reasons[name] = version.problem
        elif not is_settled(wanted, fleet, name):
            return None
        elif not _runs(wanted, fleet, name):
            failure = fleet.slot(name).failure
            reasons[name] = failure.reason if failure is not None else "does not run"
    for instance in fleet.instances():
        is_current = instance.spec == wanted.spec(instance.spec.version)
        is_kept_as_default = instance.spec.version == fleet.default
        if not is_current and not is_kept_as_default and instance.spec.version not in reasons:
            return None
    return Verdict("failed" if reasons else "applied", MappingProxyType(reasons))


def _runs(wanted: Wanted, fleet: Fleet, name: str) -> bool:
    spec = wanted.spec(name)
    return any(i.spec == spec and i.state is State.RUNNING for i in fleet.slot(name).instances)
