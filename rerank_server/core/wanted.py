"""What one accepted config asks for: versions, the specs of their processes, the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

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
    batch_size: int = 16
    max_length: int = 512
    max_batch_tokens: int = 8192
    use_fp16: bool = True
    threads: int | None = None
    max_queued_pairs: int = 20_000
    clean: bool = False
    env: tuple[tuple[str, str], ...] = ()
    epoch: int = 0
    """Counts the restarts asked for by hand."""


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
    """None while disabled, or while `problem` keeps it from being started."""
    problem: str | None = None
    """Why it cannot be started at all, in one sentence."""
    replace: Replace = "auto"
    start_timeout_s: float = 300.0
    max_batch_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one accepted config asks for. The empty one asks for everything to stop."""

    generation: int
    default: str
    last_resort: str | None
    versions: Mapping[str, WantedVersion] = field(default_factory=lambda: MappingProxyType({}))

    def spec(self, name: str) -> WorkerSpec | None:
        """Return the spec that `name` should run, or None."""
        version = self.versions.get(name)
        return version.spec if version is not None and version.enabled else None


NOTHING = Wanted(generation=0, default="", last_resort=None)
"""What a shutdown wants."""


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
