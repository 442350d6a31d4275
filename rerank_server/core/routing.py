"""Which version a request asked for, and which live instances may answer it, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Literal

from rerank_server.core.access import Access, access_from, access_json
from rerank_server.core.limits import Limits, VersionLimits
from rerank_server.core.traffic import (
    Mirror,
    Stage,
    Traffic,
    arm_of,
    mirror_from,
    mirror_json,
    stages_from,
    traffic_from,
    traffic_json,
)
from rerank_server.names import NONE


class FallbackReason(StrEnum):
    """Why a request was answered by another version than the one asked for."""

    UNKNOWN_VERSION = "unknown_version"
    DISABLED = "disabled"
    STARTING = "starting"
    BACKOFF = "backoff"
    FAILED = "failed"
    DRAINING = "draining"
    LOST = "lost"
    HUNG = "hung"
    GPU_MEMORY = "gpu_memory"
    GPU_ERROR = "gpu_error"


ChosenBy = Literal["path", "header", "body", "traffic", "default"]


@dataclass(frozen=True, slots=True)
class Target:
    """One live worker process and the Unix socket it listens on."""

    instance: str
    socket: str


@dataclass(frozen=True, slots=True)
class VersionRoute:
    """How one configured version may be reached now."""

    name: str
    endpoint: str
    description: str
    enabled: bool
    targets: tuple[Target, ...]
    absent: FallbackReason | None
    """Why there is no target; None while there is one."""
    fallback: tuple[str, ...]
    """Names to walk after this version, in order, complete (default and last resort included)."""
    degraded: FallbackReason | None = None
    limits: VersionLimits = field(default_factory=VersionLimits)
    cascade: tuple[Stage, ...] = ()
    """The versions that answer for it, stage after stage; it has no process of its own then."""


@dataclass(frozen=True, slots=True)
class RoutesTable:
    """All that a gateway process needs to route a request; published as routes.json."""

    generation: int
    """Config generation this table stands for."""
    gateway_generation: int
    default: str
    last_resort: str | None
    versions: Mapping[str, VersionRoute]
    """Every configured version, in config order."""
    limits: Limits
    access: Access = field(default_factory=Access)
    traffic: Traffic = field(default_factory=Traffic)
    mirror: Mirror | None = None
    is_stopping: bool = False
    """The server shuts down: requests are still answered, but `/ready` says no."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The version a request starts at, and why it is not the one asked for, if so."""

    version: str
    by: ChosenBy
    asked: str
    """The configured version asked for, or "unknown": never a client's text."""
    reason: FallbackReason | None = None
    arm: str | None = None
    """The version that the split of the traffic decided; None where it decided nothing."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One stop of a request's walk."""

    version: str
    target: Target
    stages: tuple[Stage, ...] = ()
    """Of a cascade, which has no process: its target is a name for it, and nobody listens there."""


def choose(
    table: RoutesTable,
    *,
    path_version: str | None = None,
    header: str | None = None,
    model: str | None = None,
    key: str | None = None,
) -> Choice:
    """Choose the version to start at: path, then header, then the body's `model`, then default.

    A header or `model` that names no enabled version silently means the default and carries the
    reason. `path_version` must be a configured name; disabled or not, its own walk is taken.
    Where traffic is split, `key` decides for requests that name no version of this server's, in
    path, header or body; None: who asks takes no part.
    """
    if path_version is not None:
        return Choice(path_version, "path", path_version)
    by: ChosenBy
    for by, name in (("header", header), ("body", model)):
        if not name:
            continue
        route = table.versions.get(name)
        if route is None:
            choice = Choice(table.default, by, "unknown", FallbackReason.UNKNOWN_VERSION)
            return choice if by == "header" else _split(table, key, choice)
        if not route.enabled:
            return Choice(table.default, by, name, FallbackReason.DISABLED)
        return Choice(name, by, name)
    return _split(table, key, Choice(table.default, "default", table.default))


def _split(table: RoutesTable, key: str | None, choice: Choice) -> Choice:
    """Return what the split makes of a choice of the default."""
    if key is None or not table.traffic.arms:
        return choice
    arm = arm_of(table.traffic, table.default, key)
    if arm not in table.versions:
        arm = table.default
    asked = choice.asked if choice.reason is not None else arm
    return Choice(arm, "traffic", asked, choice.reason, arm)


def candidates(table: RoutesTable, version: str) -> Iterator[Candidate]:
    """Yield the live instances that may answer for `version`, best first, each once."""
    seen: set[str] = set()
    route = table.versions[version]
    for name in (version, *route.fallback):
        stop = table.versions.get(name)
        if stop is None or (not stop.enabled and name != version):
            continue
        for found in _stop(table, stop):
            if found.target.instance not in seen:
                seen.add(found.target.instance)
                yield found


def _stop(table: RoutesTable, route: VersionRoute) -> Iterator[Candidate]:
    """Yield who answers for one version itself: a cascade's stages as one, else its instances."""
    if route.cascade and _has_all(table, route.cascade):
        name = f"{route.name}={'>'.join(stage.version for stage in route.cascade)}"
        yield Candidate(route.name, Target(name, ""), route.cascade)
        return  # a process of that name is from before it was a cascade
    for target in route.targets:
        yield Candidate(route.name, target)


def is_served(table: RoutesTable, version: str) -> bool:
    """Tell whether somebody answers for this very version: its process, or all of its stages."""
    return next(_stop(table, table.versions[version]), None) is not None


def _has_all(table: RoutesTable, stages: tuple[Stage, ...]) -> bool:
    return all(
        stage.version in table.versions and table.versions[stage.version].targets
        for stage in stages
    )


def absence(table: RoutesTable, choice: Choice) -> FallbackReason | None:
    """Return why the chosen version itself cannot answer now, or why it was not asked."""
    return choice.reason or table.versions[choice.version].absent


def answers(table: RoutesTable, version: str | None = None, *, strict: bool = False) -> bool:
    """Tell whether a request for `version` (None: the default) would be answered now."""
    name = table.default if version is None else version
    if table.is_stopping or name not in table.versions:
        return False
    if strict:
        return is_served(table, name)
    return next(candidates(table, name), None) is not None


def fallback_chain(
    name: str, own: Mapping[str, str | None], default: str, last_resort: str | None
) -> tuple[str, ...]:
    """Resolve the names a request for `name` walks after it.

    `own` maps each configured version to its `fallback` key: a name, "none" (no foreign answer
    at all) or None (the default, then the last resort). A chain that ends in "none" ends there.
    """
    walk = [name]
    step = own.get(name)
    while step is not None and step != NONE and step not in walk:
        walk.append(step)
        step = own.get(step)
    ends = () if step == NONE else (default, last_resort)
    walk += [end for end in ends if end is not None]
    return tuple(dict.fromkeys(walk))[1:]


def to_json(table: RoutesTable) -> dict[str, object]:
    """Return the table as the JSON object of routes.json."""
    return {
        "schema": 1,
        "generation": table.generation,
        "gateway": {"generation": table.gateway_generation},
        "default": table.default,
        "last_resort": table.last_resort,
        "stopping": table.is_stopping,
        "limits": asdict(table.limits),
        "access": access_json(table.access),
        "traffic": traffic_json(table.traffic),
        "mirror": mirror_json(table.mirror),
        "versions": {
            route.name: {
                "endpoint": route.endpoint,
                "description": route.description,
                "enabled": route.enabled,
                "targets": [{"instance": t.instance, "socket": t.socket} for t in route.targets],
                "absent": route.absent,
                "fallback": list(route.fallback),
                "degraded": route.degraded,
                "limits": asdict(route.limits),
                "cascade": [asdict(stage) for stage in route.cascade],
            }
            for route in table.versions.values()
        },
    }


def from_json(obj: Mapping[str, object]) -> RoutesTable:
    """Read a table from the JSON object of routes.json.

    Raises:
        KeyError, TypeError, ValueError: the object is not one that `to_json` made.
    """
    limits, access, traffic = obj["limits"], obj["access"], obj["traffic"]
    gateway = obj["gateway"]
    versions = obj["versions"]
    if not (isinstance(limits, dict) and isinstance(gateway, dict) and isinstance(versions, dict)):
        raise TypeError("routes.json: limits, gateway and versions must be objects")
    if not (isinstance(access, dict) and isinstance(traffic, dict)):
        raise TypeError("routes.json: access and traffic must be objects")
    last_resort = obj["last_resort"]
    return RoutesTable(
        generation=int(str(obj["generation"])),
        gateway_generation=int(gateway["generation"]),
        default=str(obj["default"]),
        last_resort=None if last_resort is None else str(last_resort),
        versions={str(name): _route(str(name), route) for name, route in versions.items()},
        limits=Limits(**limits),
        access=access_from(access),
        traffic=traffic_from(traffic),
        mirror=mirror_from(obj["mirror"]),
        is_stopping=bool(obj["stopping"]),
    )


def _route(name: str, obj: Mapping[str, object]) -> VersionRoute:
    targets, fallback, limits = obj["targets"], obj["fallback"], obj["limits"]
    if not (isinstance(targets, list) and isinstance(fallback, list) and isinstance(limits, dict)):
        raise TypeError(f"routes.json: {name}: targets, fallback or limits of the wrong type")
    absent, degraded = obj["absent"], obj["degraded"]
    return VersionRoute(
        name=name,
        endpoint=str(obj["endpoint"]),
        description=str(obj["description"]),
        enabled=bool(obj["enabled"]),
        targets=tuple(Target(str(t["instance"]), str(t["socket"])) for t in targets),
        absent=None if absent is None else FallbackReason(str(absent)),
        fallback=tuple(str(item) for item in fallback),
        degraded=None if degraded is None else FallbackReason(str(degraded)),
        limits=VersionLimits(**limits),
        cascade=stages_from(obj["cascade"]),
    )
