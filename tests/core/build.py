"""Builds what is wanted and what runs: a test says only what differs from the plain case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from rerank_server.core.lifecycle import issue
from rerank_server.core.limits import Limits
from rerank_server.core.reconcile import reconcile
from rerank_server.core.routing import FallbackReason, Target, VersionRoute
from rerank_server.core.traffic import Stage
from rerank_server.core.types import Action, Drain, Failure, Fleet, Instance, Slot, Start, State
from rerank_server.core.wanted import Policy, Replace, Wanted, WantedVersion, WorkerSpec

POLICY = Policy(start_slots=2)
ONE_SLOT = replace(POLICY, start_slots=1)
LIMITS = Limits(
    request_timeout_s=60.0,
    max_body_bytes=1 << 20,
    max_docs=1000,
    body_timeout_s=30.0,
    keep_alive_s=30.0,
)


def spec(name: str = "v1", files: str = "a") -> WorkerSpec:
    """Return the spec of a version; other `files` make another spec."""
    return WorkerSpec(name, f"/models/{name}", files, "/usr/bin/python3")


def version(
    name: str = "v1",
    files: str = "a",
    *,
    enabled: bool = True,
    problem: str | None = None,
    mode: Replace = "auto",
    fallback: str | None = None,
    cascade: tuple[Stage, ...] = (),
) -> WantedVersion:
    """Return one configured version; it has a spec when it is enabled without a problem.

    A cascade has none.
    """
    return WantedVersion(
        name=name,
        enabled=enabled,
        endpoint=f"/rerank/{name}",
        description=f"about {name}",
        source=name,
        fallback=fallback,
        spec=spec(name, files) if enabled and problem is None and not cascade else None,
        problem=problem,
        replace=mode,
        start_timeout_s=30.0,
        max_batch_s=20.0,
        cascade=cascade,
    )


def wanted(
    *versions: WantedVersion, default: str | None = None, last_resort: str | None = None
) -> Wanted:
    """Return what a config with these versions asks for; the first is the default."""
    return Wanted(
        generation=3,
        default=versions[0].name if default is None else default,
        last_resort=last_resort,
        versions=MappingProxyType({v.name: v for v in versions}),
    )


def worker(
    name: str = "v1",
    state: State = State.RUNNING,
    *,
    files: str = "a",
    number: int = 1,
    at: float = 0.0,
) -> Instance:
    """Return a process that was spawned, entered its state and gave its last beat `at`."""
    served = state in (State.RUNNING, State.DRAINING)
    return Instance(
        id=f"{name}.{number}",
        spec=spec(name, files),
        state=state,
        since=at,
        spawned_at=at,
        beat_at=at,
        pid=1000 + number,
        ready_at=at if served else None,
    )


HUNG = replace(worker(state=State.STOPPING), is_killed=True, doom="hung", ready_at=1.0)
"""A process that ran, and was killed for a hang."""


def failure(
    name: str = "v1",
    files: str = "a",
    *,
    attempt: int = 1,
    retry_at: float | None = None,
    reason: str = "bad weights",
) -> Failure:
    """Return why a version does not run: FAILED, or with `retry_at` BACKOFF."""
    return Failure(spec(name, files), reason, attempt, retry_at)


def fleet(
    *instances: Instance,
    failures: tuple[Failure, ...] = (),
    failed_at: float = 0.0,
    default: str | None = "v1",
) -> Fleet:
    """Return a fleet of these processes, and of these versions that failed once each."""
    names = [i.spec.version for i in instances] + [f.spec.version for f in failures]
    slots = {name: Slot(name) for name in names}
    for instance in instances:
        slot = slots[instance.spec.version]
        number = int(instance.id.rpartition(".")[2])
        slots[slot.version] = replace(
            slot,
            instances=(*slot.instances, instance),
            serial=max(slot.serial, number),
        )
    for failed in failures:
        name = failed.spec.version
        slots[name] = replace(slots[name], failure=failed, failed_at=(failed_at,))
    return Fleet(MappingProxyType(slots), default)


def states(fleet: Fleet) -> Mapping[str, State]:
    """Return the state of each process."""
    return {i.id: i.state for i in fleet.instances()}


def carry_on(
    wanted: Wanted, fleet: Fleet, now: float = 0.0, policy: Policy = POLICY
) -> tuple[Fleet, list[Action]]:
    """Decide and issue until nothing is new, as the supervisor's loop does."""
    done: list[Action] = []
    while actions := reconcile(wanted, fleet, now, policy):
        for action in actions:
            fleet = issue(fleet, action, now)
        done += actions
        assert len(done) < 100, "never comes to rest"
    return fleet, done


def started(actions: list[Action]) -> list[str]:
    """Return which processes these actions start."""
    return [a.instance for a in actions if isinstance(a, Start)]


def drained(actions: list[Action]) -> list[str]:
    """Return which processes these actions drain."""
    return [a.instance for a in actions if isinstance(a, Drain)]


def target(instance: str) -> Target:
    """Return where a process listens."""
    return Target(instance, f"/run/w/{instance}.sock")


def route(
    name: str,
    *instances: str,
    fallback: tuple[str, ...] = (),
    absent: FallbackReason | None = None,
    enabled: bool = True,
) -> VersionRoute:
    """Return how a version with these live processes may be reached."""
    return VersionRoute(
        name=name,
        endpoint=f"/rerank/{name}",
        description="",
        enabled=enabled,
        targets=tuple(target(i) for i in instances),
        absent=absent,
        fallback=fallback,
    )
