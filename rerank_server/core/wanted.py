"""What one accepted config asks for: versions, the specs of their processes, the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from rerank_server.core.limits import VersionLimits
from rerank_server.core.routing import FallbackReason
from rerank_server.core.traffic import Stage

MB = 1 << 20
"""As nvidia-smi counts them."""

Replace = Literal["auto", "overlap", "stop_first"]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """All that a worker process depends on: a process restarts only when this changed."""

    version: str
    directory: str
    """The version's (or its source's) directory, absolute."""
    fingerprint: str
    """Digest over path, size and mtime of the files in it."""
    python: str
    model: str = "model"
    device: str = "cpu"
    """"cpu", or "cuda:N" as people number the cards this server sees."""
    gpu: str = ""
    """UUID of its card; empty on the CPU."""
    replica: int = 0
    """Which of the version's processes it is, from 0."""
    batch_size: int = 16
    max_length: int = 512
    max_batch_tokens: int = 8192
    use_fp16: bool = True
    threads: int | None = None
    clean: bool = False
    long_docs: str = "truncate"
    """"truncate" cuts documents that do not fit, "chunk" scores them window by window."""
    env: tuple[tuple[str, str], ...] = ()
    epoch: int = 0
    """Counts the restarts asked for by hand."""

    @property
    def kind(self) -> WorkerSpec:
        """What its failures count for: the same code, files and sort of device."""
        return replace(self, replica=0, gpu="", device=self.device.partition(":")[0])


@dataclass(frozen=True, slots=True)
class Wish:
    """Where a version is to run, and what it may do for want of GPU memory."""

    device: str = "cpu"
    """"auto", "cpu", "cuda" or "cuda:N"."""
    fallback_to_cpu: bool = False
    threshold_bytes: int = 0
    """Free memory of its card under which it moves to the CPU."""
    memory_bytes: int | None = None
    """What one process takes of a card, where the config says."""
    weights_bytes: int = 0
    """Size of the weights on disk, for a guess where nothing better is known."""
    stand_in_model: str = "model"
    """The model folder used on the CPU in place of a GPU."""
    stand_in_bytes: int = 0
    """Size of its weights on disk."""


@dataclass(frozen=True, slots=True)
class Degraded:
    """Why a version does not run where the config would have it."""

    reason: FallbackReason
    text: str


@dataclass(frozen=True, slots=True)
class WantedVersion:
    """One configured version: its spec when enabled, and the policy around it."""

    name: str
    enabled: bool
    endpoint: str
    description: str
    source: str
    fallback: str | None
    spec: WorkerSpec | None
    """How it runs on the CPU; None while disabled, or while its files cannot be run."""
    problem: str | None = None
    """Why it, or one of its replicas, cannot be started at all, in one sentence."""
    lack: FallbackReason | None = None
    """`gpu_memory` or `gpu_error`, where `problem` is for want of a card."""
    replace: Replace = "auto"
    start_timeout_s: float = 300.0
    max_batch_s: float = 120.0
    limits: VersionLimits = field(default_factory=VersionLimits)
    replicas: int = 1
    wish: Wish = Wish()
    placed: tuple[WorkerSpec, ...] | None = None
    """What its processes run as, once placement has decided; None: all on the CPU."""
    held: frozenset[WorkerSpec] = frozenset()
    """Those of `placed` that must not be started just now: their card is not free for it."""
    waits: str | None = None
    """Why some replica has no device yet; None when none waits for one."""
    degraded: Degraded | None = None
    cascade: tuple[Stage, ...] = ()
    """The versions that answer for it, stage after stage; it has no spec and no process then."""

    @property
    def specs(self) -> tuple[WorkerSpec, ...]:
        """What its processes are to run as, one per replica that has a device."""
        if not self.enabled or self.spec is None:
            return ()
        if self.placed is not None:
            return self.placed
        return tuple(replace(self.spec, replica=n) for n in range(self.replicas))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one accepted config asks for. The empty one asks for everything to stop."""

    generation: int
    default: str
    last_resort: str | None
    versions: Mapping[str, WantedVersion] = field(default_factory=lambda: MappingProxyType({}))

    def specs(self, name: str) -> tuple[WorkerSpec, ...]:
        """Return what the processes of `name` should run as; empty when none should."""
        version = self.versions.get(name)
        return () if version is None else version.specs

    def is_default(self, name: str) -> bool:
        """Tell whether `name` is the default version, or a stage of it."""
        default = self.versions.get(self.default)
        stages = () if default is None else default.cascade
        return name == self.default or any(stage.version == name for stage in stages)


NOTHING = Wanted(generation=0, default="", last_resort=None)
"""What a shutdown wants."""


@dataclass(frozen=True, slots=True)
class GpuPolicy:
    """When a version leaves a card for the CPU, and when it comes back."""

    pressure_after_s: float = 3.0
    """Free memory is under a version's threshold for so long before it moves."""
    recover_after_s: float = 60.0
    """There is room for it, and to spare, for so long before it moves back; grows by doubling."""
    recover_cap_s: float = 3600.0
    recover_margin_bytes: int = 512 * MB
    """What "to spare" means, beyond its threshold."""
    cool_down_s: float = 10.0
    """Between two moves of one card."""
    stale_s: float = 5.0
    """A look at the cards older than this decides nothing."""
    sight_timeout_s: float = 10.0
    """A driver that says nothing for so long is given up: what waits for it goes to the CPU."""
    release_timeout_s: float = 5.0
    """The driver returns the memory of a process that is gone within 0.5 to 1.5 s, as a rule."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Deadlines and limits of supervision, in seconds."""

    beat_timeout_s: float = 5.0
    drain_timeout_s: float = 65.0
    stop_grace_s: float = 10.0
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 60.0
    failure_window_s: float = 600.0
    failure_limit: int = 5
    """So many failures within the window make a version FAILED."""
    stable_s: float = 60.0
    """RUNNING this long forgets earlier failures."""
    start_slots: int = 1
    """Most workers STARTING on the CPU at once."""
    gpu: GpuPolicy = GpuPolicy()
