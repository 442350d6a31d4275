"""What runs: processes, slots, the fleet; what happens to them, and what is done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from rerank_server.core.devices import Devices, GpusSeen, WasMoved
from rerank_server.core.routing import FallbackReason
from rerank_server.core.traffic import Stage
from rerank_server.core.wanted import WorkerSpec


class State(StrEnum):
    """Life of one worker process."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    DRAINING = "DRAINING"
    STOPPING = "STOPPING"


@dataclass(frozen=True, slots=True)
class Instance:
    """One worker process. Times are monotonic seconds."""

    id: str
    spec: WorkerSpec
    state: State
    since: float
    spawned_at: float
    beat_at: float
    pid: int | None = None
    batch_started_at: float | None = None
    in_flight: int = 0
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0
    """Most it has taken of its card, as far as known."""
    info: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    unhealthy: str | None = None
    """Why its model is given up on, by its own word."""
    doom: str | None = None
    """Why it is being killed, when it failed; None for an orderly end."""
    farewell: Farewell | None = None
    ready_at: float | None = None
    """When it became RUNNING; None when it never did."""
    is_killed: bool = False
    is_drained: bool = False


@dataclass(frozen=True, slots=True)
class Farewell:
    """A worker's own last words."""

    reason: str
    would_fail_again: bool
    cause: FallbackReason | None = None
    """`gpu_memory` or `gpu_error`, where its card was to blame."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version does not run, and whether it will be tried again."""

    spec: WorkerSpec
    reason: str
    attempt: int
    retry_at: float | None
    """None: FAILED, only a reset or another spec tries again."""
    cause: FallbackReason | None = None
    """`gpu_memory` or `gpu_error`, where its card was to blame."""


@dataclass(frozen=True, slots=True)
class Slot:
    """All processes of one version, and the memory of its failures."""

    version: str
    instances: tuple[Instance, ...] = ()
    failure: Failure | None = None
    failed_at: tuple[float, ...] = ()
    """Times of the failures within the window, oldest first."""
    serial: int = 0
    restarts: int = 0
    """Starts that followed a failure, ever."""

    def failure_of(self, *specs: WorkerSpec) -> Failure | None:
        """Return why processes of this kind do not run, unless none failed or it is forgiven."""
        failure = self.failure
        if failure is None or all(failure.spec.kind != spec.kind for spec in specs):
            return None
        return failure


@dataclass(frozen=True, slots=True)
class Fleet:
    """All slots, and the version the default route points at."""

    slots: Mapping[str, Slot] = field(default_factory=lambda: MappingProxyType({}))
    default: str | None = None
    devices: Devices = field(default_factory=Devices)
    cascades: Mapping[str, tuple[Stage, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The stages that answer for each cascade: those it should have, or had until those run."""

    def slot(self, version: str) -> Slot:
        """Return the version's slot, an empty one when there is none yet."""
        return self.slots.get(version) or Slot(version)

    def find(self, instance_id: str) -> Instance | None:
        """Return the instance of that id, or None when it is gone."""
        return next((i for i in self.instances() if i.id == instance_id), None)

    def instances(self) -> tuple[Instance, ...]:
        """Return every instance, in slot order."""
        return tuple(i for slot in self.slots.values() for i in slot.instances)


# --- events: what happened (past participles) -------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spawned:
    """The process exists."""

    instance: str
    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """The process could not be made."""

    instance: str
    reason: str


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The warm-up pass gave finite scores and the socket listens."""

    instance: str
    info: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Beaten:
    """A sign of life from the worker's event loop."""

    instance: str
    in_flight: int
    batch_started_at: float | None
    unhealthy: str | None = None
    """Why the model is given up on: it failed on many requests in a row."""
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing is in flight any more, and nothing new is taken."""

    instance: str


@dataclass(frozen=True, slots=True)
class SaidFarewell:
    """The worker names why it will exit."""

    instance: str
    farewell: Farewell


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone."""

    instance: str
    code: int
    """Exit code; negative: killed by that signal."""
    detail: str
    """Last words on stderr and what the kernel said, for a person."""


@dataclass(frozen=True, slots=True)
class WasReset:
    """An operator asks for a fresh try of a FAILED or waiting version."""

    version: str


@dataclass(frozen=True, slots=True)
class CameLate:
    """The supervisor itself did not run for so long; no worker is to blame."""

    by_s: float


WorkerEvent = Spawned | SpawnFailed | BecameReady | Beaten | Drained | SaidFarewell | Exited
Event = WorkerEvent | WasReset | CameLate | GpusSeen | WasMoved


# --- actions: what to do (imperatives) --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Spawn a worker."""

    instance: str
    spec: WorkerSpec


@dataclass(frozen=True, slots=True)
class Drain:
    """Tell a worker to finish what it has and take nothing new."""

    instance: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell a worker to exit: TERM."""

    instance: str


@dataclass(frozen=True, slots=True)
class Kill:
    """End a worker that does not answer: its whole process group."""

    instance: str
    reason: str
    is_failure: bool
    """Whether this end counts against the version."""


Action = Start | Drain | Stop | Kill
