"""Cards, and versions that want one, for tests of placement."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict, get_args

from rerank_server.core.devices import Gpu, Sight
from rerank_server.core.lifecycle import apply, issue
from rerank_server.core.placed import place, placed
from rerank_server.core.reconcile import reconcile
from rerank_server.core.types import BecameReady, Fleet, Start
from rerank_server.core.wanted import MB, GpuPolicy, Replace, Wanted, WantedVersion, Wish
from tests.core.build import POLICY, spec

GPU_POLICY = GpuPolicy(
    pressure_after_s=3.0,
    recover_after_s=10.0,
    recover_cap_s=40.0,
    recover_margin_bytes=200 * MB,
    cool_down_s=5.0,
)
PATIENT = replace(POLICY, beat_timeout_s=1e9)
"""Takes no silence for a hang."""
MODES = get_args(Replace)


class _Falls(TypedDict):
    fallback: bool
    threshold: int


FALLS: _Falls = {"fallback": True, "threshold": 1500}
"""What lets a version go to the CPU under pressure."""


def card(index: int = 0, *, free: int, total: int = 8000, is_lost: bool = False) -> Gpu:
    """Return a card; sizes in MB."""
    return Gpu(index, f"GPU-{index}", "Fake", total * MB, free * MB, is_lost)


def look(*gpus: Gpu, at: float = 0.0, host: int | None = None) -> Sight:
    """Return one look at the cards; `host` is main memory in MB."""
    return Sight(at, gpus, host_free_bytes=None if host is None else host * MB)


def wishing(
    name: str = "v1",
    device: str = "auto",
    *,
    need: int | None = 2000,
    threshold: int = 0,
    fallback: bool = False,
    files: str = "a",
    replicas: int = 1,
    mode: Replace = "auto",
    stand_in: str = "model_cpu",
) -> WantedVersion:
    """Return a version that wants a card; sizes in MB."""
    wish = Wish(
        device=device,
        fallback_to_cpu=fallback,
        threshold_bytes=threshold * MB,
        memory_bytes=None if need is None else need * MB,
        stand_in_model=stand_in,
    )
    return WantedVersion(
        name=name,
        enabled=True,
        endpoint=f"/rerank/{name}",
        description="",
        source=name,
        fallback=None,
        spec=spec(name, files),
        replace=mode,
        start_timeout_s=1e6,
        max_batch_s=1e6,
        replicas=replicas,
        wish=wish,
    )


def seeing(fleet: Fleet, sight: Sight) -> Fleet:
    """Return the fleet after a look at the cards."""
    return replace(fleet, devices=replace(fleet.devices, sight=sight))


def decide(
    asked: Wanted, before: Fleet, now: float = 0.0, policy: GpuPolicy = GPU_POLICY
) -> tuple[Wanted, Fleet]:
    """Place everything; return what is wanted then, and the fleet with the decisions."""
    after = place(asked, before, now, policy)
    return placed(asked, after), after


def where(asked: Wanted, name: str) -> list[str]:
    """Return the device of each replica that has one; with `!` when it must not start yet."""
    version = asked.versions[name]
    return [s.device + ("!" if s in version.held else "") for s in version.specs]


def placed_on(asked: Wanted, *cards: Gpu, host: int | None = None) -> Wanted:
    """Return what is wanted, placed on these cards; `host` is main memory in MB."""
    return decide(asked, seeing(Fleet(), look(*cards, host=host)))[0]


def running(asked: Wanted, before: Fleet, now: float = 0.0) -> Fleet:
    """Return the fleet with all that may start started, and running."""
    for _ in range(10):
        placed, before = decide(asked, before, now)
        starts = [a for a in reconcile(placed, before, now, PATIENT) if isinstance(a, Start)]
        if not starts:
            return before
        for start in starts:
            before = apply(issue(before, start, now), BecameReady(start.instance, {}), now, PATIENT)
        now += 1.0
        before = seeing(before, replace(before.devices.sight, at=now))
    raise AssertionError("does not come to rest")
