"""What the supervisor makes public: the routes table and the state object, from the fleet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from rerank_server.core.absence import absence_of, degraded, degraded_of
from rerank_server.core.devices import Devices
from rerank_server.core.limits import Limits
from rerank_server.core.routing import (
    RoutesTable,
    Target,
    VersionRoute,
    fallback_chain,
)
from rerank_server.core.stats import VersionStats
from rerank_server.core.types import Fleet, Instance, Slot, State
from rerank_server.core.wanted import Wanted, WantedVersion, WorkerSpec

_NO_MOVES: Mapping[str, int] = MappingProxyType({})
_NO_DIGESTS: Mapping[tuple[str, str], str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process used at its last beat."""

    queued_pairs: int = 0
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0


def routes(
    wanted: Wanted, fleet: Fleet, limits: Limits, gateway_generation: int, socket_dir: str
) -> RoutesTable:
    """Return the table the gateway routes by, as of this fleet."""
    default = fleet.default or wanted.default
    own = {name: version.fallback for name, version in wanted.versions.items()}
    versions = {
        name: VersionRoute(
            name=name,
            endpoint=version.endpoint,
            description=version.description,
            limits=version.limits,
            enabled=version.enabled,
            targets=_targets(wanted, fleet.slot(name), socket_dir),
            absent=absence_of(wanted, fleet, version),
            fallback=fallback_chain(name, own, default, wanted.last_resort),
            degraded=why.reason if (why := degraded_of(wanted, fleet, version)) else None,
            cascade=fleet.cascades.get(name, ()),
        )
        for name, version in wanted.versions.items()
    }
    lent = [stage.version for stages in fleet.cascades.values() for stage in stages]
    for name in dict.fromkeys((default, *lent)):
        if name not in versions:  # taken out of the config, but nothing replaces it yet
            versions[name] = VersionRoute(
                name=name,
                endpoint=f"/rerank/{name}",
                description="",
                enabled=name == default,
                targets=_targets(wanted, fleet.slot(name), socket_dir),
                absent=None,
                fallback=fallback_chain(name, own, wanted.default, wanted.last_resort),
                cascade=fleet.cascades.get(name, ()),
            )
    return RoutesTable(
        generation=wanted.generation,
        gateway_generation=gateway_generation,
        default=default,
        last_resort=wanted.last_resort,
        versions=MappingProxyType(versions),
        limits=limits,
    )


def _targets(wanted: Wanted, slot: Slot, socket_dir: str) -> tuple[Target, ...]:
    """Return the running instances; an old one only where its replica has no current one."""
    running = [i for i in slot.instances if i.state is State.RUNNING]
    specs = wanted.specs(slot.version)
    current = {i.spec.replica for i in running if i.spec in specs}
    shown = [i for i in running if i.spec in specs or _is_needed(i, current, specs)]
    return tuple(Target(i.id, socket_path(socket_dir, i.id)) for i in shown)


def _is_needed(old: Instance, current: Collection[int], specs: Sequence[WorkerSpec]) -> bool:
    """Tell whether an old instance still answers: nothing stands in its place yet."""
    is_surplus = bool(current) and all(spec.replica != old.spec.replica for spec in specs)
    return old.spec.replica not in current and not is_surplus


def socket_path(socket_dir: str, instance_id: str) -> str:
    """Return where the instance listens."""
    return f"{socket_dir}/{instance_id}.sock"


# --- state.json ---------------------------------------------------------------------------------


def version_state(
    version: WantedVersion,
    slot: Slot,
    stats: VersionStats,
    usage: Mapping[str, Usage],
    now: float,
    *,
    is_default: bool,
    moves: Mapping[str, int] = _NO_MOVES,
    digests: Mapping[tuple[str, str], str] = _NO_DIGESTS,
) -> dict[str, object]:
    """Return one version's entry of state.json; `moves` to the CPU are by reason, ever.

    `digests` of files are by directory and fingerprint.
    """
    why = degraded(version, slot)
    shown = _shown(version, slot)
    state, reason = _state_of(version, slot, shown)
    failure = slot.failure_of(*version.specs)
    spec = shown.spec if shown is not None else next(iter(version.specs), version.spec)
    retry_at = failure.retry_at if failure is not None and state == "BACKOFF" else None
    return {
        "name": version.name,
        "enabled": version.enabled,
        "state": state,
        "reason": reason,
        "default": is_default,
        "endpoint": version.endpoint,
        "description": version.description,
        "source": version.source,
        "device": spec.device if spec is not None else None,
        "degraded": why.text if why is not None else None,
        "degraded_reason": why.reason if why is not None else None,
        "moves": dict(moves),
        "restarts": slot.restarts,
        "attempt": failure.attempt if failure is not None else 0,
        "retry_in_s": max(0.0, retry_at - now) if retry_at is not None else None,
        **_files(spec, digests),
        "info": dict(shown.info) if shown is not None else {},
        "load_s": _load_s(shown),
        "settings": _settings(spec) if spec is not None else {},
        "totals": _totals(stats),
        "queue": _queue(slot, usage),
        "duration": _duration(stats, now),
        "instances": [
            _instance_state(i, usage.get(i.id, Usage()), now, is_shown=i is shown)
            for i in slot.instances
        ],
    }


def gpu_state(devices: Devices, now: float) -> dict[str, object]:
    """Return what is known of the cards: how old the last look is, what it showed."""
    sight = devices.sight
    return {
        "trouble": sight.trouble,
        "age_s": max(0.0, now - sight.at) if sight.gpus else None,
        "gpus": [
            {
                "index": gpu.index,
                "uuid": gpu.uuid,
                "name": gpu.name,
                "total_bytes": gpu.total_bytes,
                "free_bytes": gpu.free_bytes,
                "lost": gpu.is_lost,
            }
            for gpu in sight.gpus or ()
        ],
    }


def _files(spec: WorkerSpec | None, digests: Mapping[tuple[str, str], str]) -> dict[str, object]:
    if spec is None:
        return {"model": None, "fingerprint": None, "digest": None}
    return {
        "model": spec.model,
        "fingerprint": spec.fingerprint,
        "digest": digests.get((spec.directory, spec.fingerprint)),
    }


def _load_s(shown: Instance | None) -> float | None:
    """Return how long the process took from its spawn to its first answer."""
    if shown is None or shown.ready_at is None:
        return None
    return shown.ready_at - shown.spawned_at


def _settings(spec: WorkerSpec) -> dict[str, object]:
    return {
        "batch_size": spec.batch_size,
        "max_length": spec.max_length,
        "use_fp16": spec.use_fp16,
        "max_batch_tokens": spec.max_batch_tokens,
    }


def _totals(stats: VersionStats) -> dict[str, object]:
    return {
        "requests": stats.totals.requests,
        "pairs": stats.totals.pairs,
        "tokens": stats.totals.tokens,
        "errors": stats.totals.errors,
    }


def _queue(slot: Slot, usage: Mapping[str, Usage]) -> dict[str, object]:
    return {
        "in_flight": sum(i.in_flight for i in slot.instances),
        "queued_pairs": sum(usage.get(i.id, Usage()).queued_pairs for i in slot.instances),
    }


def _duration(stats: VersionStats, now: float) -> dict[str, object]:
    return {
        "count": stats.totals.duration_count,
        "sum_s": stats.totals.duration_sum_s,
        **{f"p{q * 100:g}": value for q, value in stats.quantiles(now).items()},
    }


def _instance_state(i: Instance, usage: Usage, now: float, *, is_shown: bool) -> dict[str, object]:
    return {
        "id": i.id,
        "pid": i.pid,
        "state": i.state,
        "device": i.spec.device,
        "replica": i.spec.replica,
        "age_s": now - i.since,
        "uptime_s": now - i.spawned_at,
        "in_flight": i.in_flight,
        "memory_bytes": usage.memory_bytes,
        "gpu_memory_bytes": usage.gpu_memory_bytes,
        "replacing": i.state is State.STARTING and not is_shown,
    }


def _shown(version: WantedVersion, slot: Slot) -> Instance | None:
    """Return the instance a person means by "the version": the one that serves, if any."""
    order = [State.RUNNING, State.STARTING, State.DRAINING, State.STOPPING]
    return min(
        slot.instances,
        key=lambda i: (order.index(i.state), i.spec not in version.specs, i.spawned_at),
        default=None,
    )


def _state_of(version: WantedVersion, slot: Slot, shown: Instance | None) -> tuple[str, str | None]:
    """Return the version's state as people read it, and the reason where there is one."""
    failure = slot.failure_of(*version.specs)
    reason = version.problem or (failure.reason if failure is not None else None)
    if shown is not None and shown.state in (State.RUNNING, State.STARTING):
        return shown.state, reason
    if reason is not None and (shown is None or shown.doom is not None):
        is_tried = version.problem is None and failure is not None
        waits = is_tried and failure is not None and failure.retry_at is not None
        return ("BACKOFF" if waits else "FAILED"), reason
    if shown is not None:
        return shown.state, shown.doom
    return ("STARTING" if version.enabled else "DISABLED"), None
