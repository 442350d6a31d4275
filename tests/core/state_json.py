"""Builds objects as they stand in state.json."""

from __future__ import annotations

from rerank_server.core import snapshot

TIME = 1_800_000_000.0
STARTED_AT = TIME - 7 * 3600


def instance(
    version: str,
    number: int,
    pid: int | None,
    state: str = "RUNNING",
    *,
    device: str = "cpu",
    age_s: float = 5.0,
    in_flight: int = 0,
    replacing: bool = False,
) -> dict[str, object]:
    """Return one worker process, the younger the higher its number."""
    return {
        "id": f"{version}.{number}",
        "pid": pid,
        "state": state,
        "device": device,
        "age_s": age_s,
        "uptime_s": 8000.0 - number,
        "in_flight": in_flight,
        "memory_bytes": 612_345_678,
        "gpu_memory_bytes": 2_345_678_901 if device.startswith("cuda") else 0,
        "replacing": replacing,
    }


def version(
    name: str,
    state: str,
    *instances: dict[str, object],
    enabled: bool = True,
    reason: str | None = None,
    default: bool = False,
    degraded: str | None = None,
    restarts: int = 0,
    attempt: int = 0,
    retry_in_s: float | None = None,
    requests: int = 0,
    errors: int = 0,
    p95: float | None = None,
    source: str | None = None,
) -> dict[str, object]:
    """Return one configured version."""
    return {
        "name": name,
        "enabled": enabled,
        "state": state,
        "reason": reason,
        "default": default,
        "endpoint": f"/rerank/{name}",
        "description": f"about {name}",
        "source": source or name,
        "device": instances[0]["device"] if instances else None,
        "degraded": degraded,
        "restarts": restarts,
        "attempt": attempt,
        "retry_in_s": retry_in_s,
        "model": "model" if instances else None,
        "info": {"torch": "2.13.0"} if instances else {},
        "settings": {"batch_size": 16} if enabled else {},
        "totals": {"requests": requests, "pairs": 3 * requests, "tokens": 0, "errors": errors},
        "queue": {"in_flight": 0, "queued_pairs": 0},
        "duration": {"count": requests, "sum_s": 0.0, "p50": p95, "p95": p95},
        "instances": list(instances),
    }


def state(
    *versions: dict[str, object],
    default: str = "v2-m3",
    default_wanted: str | None = None,
    config_error: str | None = None,
    gateway: str = "RUNNING",
    gateway_restarts: int = 0,
    gateway_reason: str | None = None,
    stopping: bool = False,
    pid: int = 1200,
    url: str = "http://127.0.0.1:8000",
    traffic: dict[str, object] | None = None,
    rollout: dict[str, object] | None = None,
) -> dict[str, object]:
    """Return the whole object."""
    return {
        "schema": 1,
        "time": TIME,
        "server": {
            "pid": pid,
            "version": "0.1.0",
            "started_at": STARTED_AT,
            "config": "/opt/bge-rerankers/config.yaml",
            "host": "127.0.0.1",
            "port": 8000,
            "url": url,
            "stopping": stopping,
        },
        "generation": 7,
        "config_error": config_error,
        "default": default,
        "default_wanted": default_wanted or default,
        "gateway": {
            "generation": 1,
            "pid": 1201,
            "state": gateway,
            "restarts": gateway_restarts,
            "reason": gateway_reason,
        },
        "traffic": traffic or {"source": "config", "arms": [], "default_share": 100.0},
        "rollout": {"current": rollout, "outcomes": {}},
        "versions": list(versions),
    }


def view(version: dict[str, object]) -> snapshot.VersionView:
    """Return what is read of one version."""
    return snapshot.read(state(version)).versions[0]


def arms(source: str, **shares: float) -> dict[str, object]:
    """Return the shares as they stand in state.json; underscores of names stand for dashes."""
    found = [{"version": name.replace("_", "-"), "share": s} for name, s in shares.items()]
    return {"source": source, "arms": found, "default_share": 100.0 - sum(shares.values())}


def seed() -> dict[str, object]:
    """Return the three versions of the requirement's example output."""
    return state(
        version(
            "v2-m3",
            "RUNNING",
            instance("v2-m3", 1, 1234, device="cuda:0"),
            default=True,
            requests=1234,
            errors=5,
            p95=0.01234,
        ),
        version("v2-gemma", "RUNNING", instance("v2-gemma", 1, 1235, device="cuda:0")),
        version("v1", "RUNNING", instance("v1", 1, 1236)),
    )
