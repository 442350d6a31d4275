"""What state.json says of a running server, read into values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rerank_server.core import fields, rollout_view
from rerank_server.core.rollout_view import RolloutView
from rerank_server.core.traffic import Stage, Traffic, stages_from, traffic_from

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
    """One version."""

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
    cascade: tuple[Stage, ...] = ()
    """The versions that answer for it; empty for one with a process of its own."""
    is_configured: bool = True
    """Whether the config still has it; if not, a cascade still answers by it."""

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
        return tried or not self.enabled or bool(self.cascade)  # its stages are waited for


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
    traffic: Traffic = field(default_factory=Traffic)
    rollout: RolloutView | None = None

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
    server = fields.section(state, "server")
    gpu = fields.as_section(state.get("gpu", {}), "gpu")
    versions = state.get("versions")
    if not isinstance(versions, list):
        raise ValueError("versions: not a list")
    return Snapshot(
        time=fields.number(state, "time"),
        pid=fields.integer(server, "pid"),
        release=fields.text(server, "version"),
        started_at=fields.number(server, "started_at"),
        config=fields.text(server, "config"),
        url=fields.text(server, "url"),
        is_stopping=server.get("stopping") is True,
        generation=fields.integer(state, "generation"),
        config_error=fields.optional_text(state, "config_error"),
        default=fields.text(state, "default"),
        default_wanted=fields.text(state, "default_wanted"),
        gateway=_gateway(fields.section(state, "gateway")),
        versions=tuple(_version(fields.as_section(version, "versions")) for version in versions),
        gpus=_gpus(gpu),
        gpu_trouble=fields.optional_text(gpu, "trouble"),
        traffic=_traffic(state),
        rollout=rollout_view.read(state),
    )


def _traffic(state: Mapping[str, object]) -> Traffic:
    if "traffic" not in state:  # of a server before traffic could be split
        return Traffic()
    try:
        return traffic_from(fields.section(state, "traffic"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"traffic: {error}") from error


def _gpus(holder: Mapping[str, object]) -> tuple[GpuView, ...]:
    gpus = holder.get("gpus", [])
    if not isinstance(gpus, list):
        raise ValueError("gpus: not a list")
    age_s = fields.optional_number(holder, "age_s") or 0.0
    return tuple(_gpu(fields.as_section(gpu, "gpus"), age_s) for gpu in gpus)


def _gpu(gpu: Mapping[str, object], age_s: float) -> GpuView:
    return GpuView(
        index=fields.integer(gpu, "index"),
        name=fields.text(gpu, "name"),
        total_bytes=fields.integer(gpu, "total_bytes"),
        free_bytes=fields.integer(gpu, "free_bytes"),
        is_lost=fields.flag(gpu, "lost"),
        age_s=age_s,
    )


def _gateway(gateway: Mapping[str, object]) -> GatewayView:
    return GatewayView(
        pid=fields.optional_integer(gateway, "pid"),
        state=fields.text(gateway, "state"),
        restarts=fields.integer(gateway, "restarts"),
        reason=fields.optional_text(gateway, "reason"),
    )


def _version(version: Mapping[str, object]) -> VersionView:
    totals = fields.section(version, "totals")
    instances = version.get("instances")
    if not isinstance(instances, list):
        raise ValueError("instances: not a list")
    return VersionView(
        name=fields.text(version, "name"),
        enabled=fields.flag(version, "enabled"),
        state=fields.text(version, "state"),
        reason=fields.optional_text(version, "reason"),
        is_default=fields.flag(version, "default"),
        endpoint=fields.text(version, "endpoint"),
        description=fields.text(version, "description"),
        source=fields.text(version, "source"),
        model=fields.optional_text(version, "model"),
        device=fields.optional_text(version, "device"),
        degraded=fields.optional_text(version, "degraded"),
        restarts=fields.integer(version, "restarts"),
        attempt=fields.integer(version, "attempt"),
        retry_in_s=fields.optional_number(version, "retry_in_s"),
        requests=fields.integer(totals, "requests"),
        errors=fields.integer(totals, "errors"),
        p95_s=fields.optional_number(fields.section(version, "duration"), "p95"),
        instances=tuple(_instance(fields.as_section(item, "instances")) for item in instances),
        cascade=_stages(version),
        is_configured=version.get("configured") is not False,
    )


def _stages(version: Mapping[str, object]) -> tuple[Stage, ...]:
    try:
        return stages_from(version.get("cascade", []))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"cascade: {error}") from error


def _instance(instance: Mapping[str, object]) -> InstanceView:
    return InstanceView(
        id=fields.text(instance, "id"),
        pid=fields.optional_integer(instance, "pid"),
        state=fields.text(instance, "state"),
        device=fields.optional_text(instance, "device"),
        age_s=fields.number(instance, "age_s"),
        uptime_s=fields.number(instance, "uptime_s"),
        in_flight=fields.integer(instance, "in_flight"),
        memory_bytes=fields.integer(instance, "memory_bytes"),
        gpu_memory_bytes=fields.integer(instance, "gpu_memory_bytes"),
        replacing=fields.flag(instance, "replacing"),
        replica=fields.integer(instance, "replica") if "replica" in instance else 0,
    )
