"""How `rerank-server status` shows a server: one line a version, more of it, or JSON."""

from __future__ import annotations

import math
from dataclasses import asdict

from rerank_server.core import rollout_view
from rerank_server.core.cascade import described
from rerank_server.core.rollout import State
from rerank_server.core.snapshot import GpuView, InstanceView, Snapshot, VersionView
from rerank_server.core.traffic import shares

_OLD_S = 5.0
"""The driver is asked each second; an older figure is told with its age."""
_LABEL_WIDTH = 10
_LEFT_WIDTH = 26


def lines(snapshot: Snapshot) -> list[str]:
    """Return one line a version, in config order, and those on the traffic where there are any."""
    return [*(line(version) for version in snapshot.versions), *traffic(snapshot)]


def traffic(snapshot: Snapshot) -> list[str]:
    """Return the line of the shares, `traffic: v2-gemma 5%, v2-m3 95% (config)`, if any."""
    rollout = [] if snapshot.rollout is None else [rollout_view.line(snapshot.rollout)]
    if not snapshot.traffic.arms:
        return rollout
    found = shares(snapshot.traffic, snapshot.default).items()
    parts = ", ".join(f"{name} {share:.4g}%" for name, share in found)
    return [f"traffic: {parts} ({snapshot.traffic.source})", *rollout]


def line(version: VersionView) -> str:
    """Return a version's line: `v2-m3: RUNNING (PID: 1234, GPU: 0)`."""
    details = _details(version)
    return f"{version.name}: {version.state}" + (f" ({details})" if details else "")


def warnings(snapshot: Snapshot, now: float, stale_after_s: float = 10.0) -> list[str]:
    """Return what a person should know beside the versions' lines, worst first.

    `now` is wall clock.
    """
    found = ["the server is stopping"] if snapshot.is_stopping else []
    age_s = now - snapshot.time
    if age_s > stale_after_s:
        found.append(f"the server last gave news {duration(age_s)} ago; it may hang")
    gateway = snapshot.gateway
    if gateway.state != "RUNNING":
        why = f"; {one_line(gateway.reason)}" if gateway.reason else ""
        found.append(f"the gateway is {gateway.state} (restarts: {gateway.restarts}){why}")
    if snapshot.config_error is not None:
        found.append(f"the config as it is now was refused: {snapshot.config_error}")
    if snapshot.default != snapshot.default_wanted:
        found.append(
            f"the default is still {snapshot.default}, not {snapshot.default_wanted} as configured"
        )
    rollout = snapshot.rollout
    if rollout is not None and rollout.state is State.ABORTED:
        found.append(f"the rollout to {rollout.to} was aborted: {one_line(rollout.reason or '')}")
    return found


def failures(snapshot: Snapshot) -> list[str]:
    """Return the reason of each enabled version that does not run, one line each."""
    return [
        f"{version.name}: {one_line(version.reason or version.state)}"
        for version in snapshot.versions
        if version.enabled and version.state != "RUNNING"
    ]


def verbose(snapshot: Snapshot, now: float) -> list[str]:
    """Return all there is to say, aligned, for people. `now` is wall clock."""
    up = duration(max(0.0, now - snapshot.started_at))
    found = [
        f"server: {snapshot.url} (PID: {snapshot.pid}, up {up}, release {snapshot.release})",
        f"config: {snapshot.config} (generation {snapshot.generation})",
    ]
    found += traffic(snapshot)
    found += [_gpu(gpu) for gpu in snapshot.gpus]
    if snapshot.gpu_trouble is not None:
        found.append(f"gpu: {one_line(snapshot.gpu_trouble)}")
    for version in snapshot.versions:
        found += ["", line(version), *_more(version)]
    return found


def _gpu(gpu: GpuView) -> str:
    if gpu.is_lost:
        return f"gpu {gpu.index}: {gpu.name}, lost"
    free, total = gpu.free_bytes >> 20, gpu.total_bytes >> 20
    old = f" {duration(gpu.age_s)} ago" if gpu.age_s > _OLD_S else ""
    return f"gpu {gpu.index}: {gpu.name}, {free} of {total} MB free{old}"


def to_json(snapshot: Snapshot) -> dict[str, object]:
    """Return the object that `status --json` prints; its keys only ever grow."""
    return {
        "schema": 1,
        "time": snapshot.time,
        "pid": snapshot.pid,
        "release": snapshot.release,
        "started_at": snapshot.started_at,
        "config": snapshot.config,
        "url": snapshot.url,
        "stopping": snapshot.is_stopping,
        "generation": snapshot.generation,
        "config_error": snapshot.config_error,
        "default": snapshot.default,
        "default_wanted": snapshot.default_wanted,
        "default_serves": snapshot.default_serves,
        "gateway": {
            "pid": snapshot.gateway.pid,
            "state": snapshot.gateway.state,
            "restarts": snapshot.gateway.restarts,
            "reason": snapshot.gateway.reason,
        },
        "traffic": {
            "source": snapshot.traffic.source,
            "shares": shares(snapshot.traffic, snapshot.default),
        },
        "rollout": None if snapshot.rollout is None else dict(snapshot.rollout.json),
        "versions": [_version_json(version) for version in snapshot.versions],
    }


def duration(seconds: float) -> str:
    """Write a span of time as people read it: `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 1 h`."""
    whole = int(seconds)
    for unit, size, lesser, part in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {lesser}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def size(size_bytes: int) -> str:
    """Write a size as people read it: `1.2 GB`."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"


def one_line(text: str) -> str:
    """Return the first line of a reason that may quote many."""
    return text.strip().partition("\n")[0].rstrip()


def _details(version: VersionView) -> str:
    shown = version.shown
    if version.cascade and shown is None and version.state not in ("BACKOFF", "FAILED"):
        return _staged(version)
    match version.state:
        case "RUNNING" if shown is not None:
            is_past = bool(version.cascade) or not version.is_configured
            past = f"; {one_line(version.reason)}" if is_past and version.reason else ""
            return f"{_serving(version)}{_degraded(version)}{_successor(version)}{past}"
        case "STARTING" if shown is not None:
            return f"{_pid(shown)}, {int(shown.age_s)} s"
        case "STARTING":
            return "waiting for its turn"
        case "BACKOFF":
            wait_s = math.ceil(version.retry_in_s or 0.0)
            return f"restart {version.attempt} in {wait_s} s: {_reason(version)}"
        case "DRAINING" if shown is not None:
            return f"{_pid(shown)}, {shown.in_flight} in flight"
        case "STOPPING" if shown is not None:
            return _pid(shown)
        case "FAILED":
            return _reason(version)
        case _:
            return ""


def _staged(version: VersionView) -> str:
    if version.state == "RUNNING":
        stages = one_line(version.reason or described(version.cascade))
        return f"cascade: {stages}{_degraded(version)}"
    return one_line(version.reason or "")


def _serving(version: VersionView) -> str:
    """Return each process that serves with its place: `PID: 7, GPU: 0; PID: 8, GPU: 1`."""
    return "; ".join(f"{_pid(i)}, {_place(i.device)}" for i in version.serving)


def _degraded(version: VersionView) -> str:
    return "" if version.degraded is None else f", degraded: {one_line(version.degraded)}"


def _pid(instance: InstanceView) -> str:
    return "PID: -" if instance.pid is None else f"PID: {instance.pid}"


def _place(device: str | None) -> str:
    """Return the device as the status line names it: `GPU: 0` or `CPU`."""
    kind, _, index = (device or "cpu").partition(":")
    return f"GPU: {index or 0}" if kind == "cuda" else kind.upper()


def _successor(version: VersionView) -> str:
    following = version.successor
    if following is None:
        return ""
    pid = "-" if following.pid is None else following.pid
    return f", replacing: PID {pid} {following.state}"


def _reason(version: VersionView) -> str:
    return one_line(version.reason or "") or "no reason known"


def _more(version: VersionView) -> list[str]:
    found = _of_cascade(version) if version.cascade else _of_process(version)
    if version.degraded is not None:
        found.append(_field("degraded", version.degraded))
    if version.reason is not None:
        first, *rest = version.reason.strip().splitlines() or [""]
        found.append(_field("reason", first))
        found += [f"  {'':<{_LABEL_WIDTH}}{text}" for text in rest]
    return found


def _of_cascade(version: VersionView) -> list[str]:
    return [
        _field("stages", described(version.cascade)),
        _field("endpoint", version.endpoint + _default_mark(version)),
    ]


def _of_process(version: VersionView) -> list[str]:
    shown = version.shown
    memory = gpu = uptime = "-"
    if shown is not None:
        uptime = duration(shown.uptime_s)
        memory = size(shown.memory_bytes)
        gpu = size(shown.gpu_memory_bytes) if shown.gpu_memory_bytes else "-"
    p95 = "-" if version.p95_s is None else f"{version.p95_s * 1000:.1f} ms"
    failed = f" ({version.errors} failed)" if version.errors else ""
    source = f"{version.source}/{version.model}" if version.model else version.source
    return [
        _pair("uptime", uptime, "requests", f"{version.requests}{failed}"),
        _pair("memory", memory, "p95", p95),
        _pair("gpu", gpu, "restarts", str(version.restarts)),
        _pair("source", source, "endpoint", version.endpoint + _default_mark(version)),
    ]


def _default_mark(version: VersionView) -> str:
    return " (default)" if version.is_default else ""


def _pair(left: str, left_value: str, right: str, right_value: str) -> str:
    return f"{_field(left, f'{left_value:<{_LEFT_WIDTH}}')}{right:<{_LABEL_WIDTH}}{right_value}"


def _field(label: str, value: str) -> str:
    return f"  {label:<{_LABEL_WIDTH}}{value}"


def _version_json(version: VersionView) -> dict[str, object]:
    return {
        "name": version.name,
        "line": line(version),
        "enabled": version.enabled,
        "state": version.state,
        "reason": version.reason,
        "default": version.is_default,
        "endpoint": version.endpoint,
        "description": version.description,
        "source": version.source,
        "cascade": [asdict(stage) for stage in version.cascade],
        "model": version.model,
        "device": version.device,
        "degraded": version.degraded,
        "restarts": version.restarts,
        "retry_in_s": version.retry_in_s,
        "requests": version.requests,
        "errors": version.errors,
        "p95_s": version.p95_s,
        "instances": [
            {
                "id": instance.id,
                "pid": instance.pid,
                "state": instance.state,
                "device": instance.device,
                "age_s": instance.age_s,
                "uptime_s": instance.uptime_s,
                "in_flight": instance.in_flight,
                "memory_bytes": instance.memory_bytes,
                "gpu_memory_bytes": instance.gpu_memory_bytes,
                "replacing": instance.replacing,
            }
            for instance in version.instances
        ],
    }
