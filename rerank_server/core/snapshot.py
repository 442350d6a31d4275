"""What state.json says of a running server, read into values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One worker process."""

    id: str
    pid: int | None
    state: str
    device: str | None
    age_s: float
    """How long it has been in its state."""
    uptime_s: float
    in_flight: int
    memory_bytes: int
    gpu_memory_bytes: int
    replacing: bool
    replica: int = 0


@dataclass(frozen=True, slots=True)
class VersionView:
    """One configured version."""

    name: str
    enabled: bool
    state: str
    reason: str | None
    is_default: bool
    endpoint: str
    description: str
    source: str
    model: str | None
    device: str | None
    degraded: str | None
    restarts: int
    attempt: int
    retry_in_s: float | None
    requests: int
    errors: int
    p95_s: float | None
    instances: tuple[InstanceView, ...]

    @property
    def shown(self) -> InstanceView | None:
        """The process a person means by this version: the youngest in the version's own state."""
        own = [i for i in self.instances if i.state == self.state and not i.replacing]
        return min(own, key=lambda instance: instance.uptime_s, default=None)

    @property
    def serving(self) -> list[InstanceView]:
        """The youngest running process of each replica."""
        running = [i for i in self.instances if i.state == "RUNNING"]
        by_age = sorted(running, key=lambda instance: -instance.uptime_s)
        return [found for _, found in sorted({i.replica: i for i in by_age}.items())]

    @property
    def successor(self) -> InstanceView | None:
        """The process that is about to replace the one shown."""
        return next((i for i in self.instances if i.replacing), None)

    @property
    def is_settled(self) -> bool:
        """Whether nothing more comes of waiting for its start: it runs, failed, or tries again."""
        tried = self.state in ("RUNNING", "FAILED", "BACKOFF") or self.restarts > 0
        return tried or not self.enabled


@dataclass(frozen=True, slots=True)
class GpuView:
    """One card."""

    index: int
    name: str
    total_bytes: int
    free_bytes: int
    is_lost: bool
    age_s: float
    """How old the figures are."""


@dataclass(frozen=True, slots=True)
class GatewayView:
    """The HTTP front."""

    pid: int | None
    state: str
    restarts: int
    reason: str | None

    @property
    def is_settled(self) -> bool:
        """Whether nothing more comes of waiting for its start."""
        return self.state == "RUNNING" or self.restarts > 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A server as it was at `time`."""

    time: float
    """Wall clock, seconds."""
    pid: int
    release: str
    started_at: float
    """Wall clock, seconds."""
    config: str
    url: str
    is_stopping: bool
    generation: int
    config_error: str | None
    default: str
    """The version that serves as default now."""
    default_wanted: str
    gateway: GatewayView
    versions: tuple[VersionView, ...] = field(default=())
    """In config order."""
    gpus: tuple[GpuView, ...] = ()
    gpu_trouble: str | None = None
    """What the driver said instead of figures."""

    @property
    def default_serves(self) -> bool:
        """Whether the default version runs and requests can reach it."""
        default = next((v for v in self.versions if v.name == self.default), None)
        running = default is not None and default.state == "RUNNING"
        return running and self.gateway.state == "RUNNING"

    @property
    def is_settled(self) -> bool:
        """Whether the gateway and each enabled version run, failed, or wait to try again."""
        return self.gateway.is_settled and all(version.is_settled for version in self.versions)


def read(state: Mapping[str, object]) -> Snapshot:
    """Read the object of state.json.

    Raises:
        ValueError: it is of another schema, or a value is missing or of the wrong type.
    """
    if state.get("schema") != SCHEMA:
        raise ValueError(f"schema {state.get('schema')!r}, this release reads {SCHEMA}")
    server = _object(state, "server")
    gpu = _as_object(state.get("gpu", {}), "gpu")
    versions = state.get("versions")
    if not isinstance(versions, list):
        raise ValueError("versions: not a list")
    return Snapshot(
        time=_number(state, "time"),
        pid=_integer(server, "pid"),
        release=_text(server, "version"),
        started_at=_number(server, "started_at"),
        config=_text(server, "config"),
        url=_text(server, "url"),
        is_stopping=server.get("stopping") is True,
        generation=_integer(state, "generation"),
        config_error=_optional_text(state, "config_error"),
        default=_text(state, "default"),
        default_wanted=_text(state, "default_wanted"),
        gateway=_gateway(_object(state, "gateway")),
        versions=tuple(_version(_as_object(version, "versions")) for version in versions),
        gpus=_gpus(gpu),
        gpu_trouble=_optional_text(gpu, "trouble"),
    )


def _gpus(holder: Mapping[str, object]) -> tuple[GpuView, ...]:
    gpus = holder.get("gpus", [])
    if not isinstance(gpus, list):
        raise ValueError("gpus: not a list")
    age_s = _optional_number(holder, "age_s") or 0.0
    return tuple(_gpu(_as_object(gpu, "gpus"), age_s) for gpu in gpus)


def _gpu(gpu: Mapping[str, object], age_s: float) -> GpuView:
    return GpuView(
        index=_integer(gpu, "index"),
        name=_text(gpu, "name"),
        total_bytes=_integer(gpu, "total_bytes"),
        free_bytes=_integer(gpu, "free_bytes"),
        is_lost=_flag(gpu, "lost"),
        age_s=age_s,
    )


def _gateway(gateway: Mapping[str, object]) -> GatewayView:
    return GatewayView(
        pid=_optional_integer(gateway, "pid"),
        state=_text(gateway, "state"),
        restarts=_integer(gateway, "restarts"),
        reason=_optional_text(gateway, "reason"),
    )


def _version(version: Mapping[str, object]) -> VersionView:
    totals = _object(version, "totals")
    instances = version.get("instances")
    if not isinstance(instances, list):
        raise ValueError("instances: not a list")
    return VersionView(
        name=_text(version, "name"),
        enabled=_flag(version, "enabled"),
        state=_text(version, "state"),
        reason=_optional_text(version, "reason"),
        is_default=_flag(version, "default"),
        endpoint=_text(version, "endpoint"),
        description=_text(version, "description"),
        source=_text(version, "source"),
        model=_optional_text(version, "model"),
        device=_optional_text(version, "device"),
        degraded=_optional_text(version, "degraded"),
        restarts=_integer(version, "restarts"),
        attempt=_integer(version, "attempt"),
        retry_in_s=_optional_number(version, "retry_in_s"),
        requests=_integer(totals, "requests"),
        errors=_integer(totals, "errors"),
        p95_s=_optional_number(_object(version, "duration"), "p95"),
        instances=tuple(_instance(_as_object(item, "instances")) for item in instances),
    )


def _instance(instance: Mapping[str, object]) -> InstanceView:
    return InstanceView(
        id=_text(instance, "id"),
        pid=_optional_integer(instance, "pid"),
        state=_text(instance, "state"),
        device=_optional_text(instance, "device"),
        age_s=_number(instance, "age_s"),
        uptime_s=_number(instance, "uptime_s"),
        in_flight=_integer(instance, "in_flight"),
        memory_bytes=_integer(instance, "memory_bytes"),
        gpu_memory_bytes=_integer(instance, "gpu_memory_bytes"),
        replacing=_flag(instance, "replacing"),
        replica=_integer(instance, "replica") if "replica" in instance else 0,
    )


def _object(holder: Mapping[str, object], key: str) -> Mapping[str, object]:
    return _as_object(holder.get(key), key)


def _as_object(value: object, key: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{key}: not an object")
    return value


def _text(holder: Mapping[str, object], key: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key}: not a string")
    return value


def _optional_text(holder: Mapping[str, object], key: str) -> str | None:
    return None if holder.get(key) is None else _text(holder, key)


def _number(holder: Mapping[str, object], key: str) -> float:
    value = holder.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key}: not a number")
    return float(value)


def _optional_number(holder: Mapping[str, object], key: str) -> float | None:
    return None if holder.get(key) is None else _number(holder, key)


def _integer(holder: Mapping[str, object], key: str) -> int:
    value = holder.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{key}: not an integer")
    return value


def _optional_integer(holder: Mapping[str, object], key: str) -> int | None:
    return None if holder.get(key) is None else _integer(holder, key)


def _flag(holder: Mapping[str, object], key: str) -> bool:
    value = holder.get(key)
    if not isinstance(value, bool):
        raise ValueError(f"{key}: not true or false")
    return value
