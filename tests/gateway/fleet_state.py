"""A state.json as the supervisor writes it, as far as the gateway reads it."""

from __future__ import annotations

from pathlib import Path

import orjson

STATE = {
    "schema": 1,
    "generation": 7,
    "config_error": None,
    "default": "v1",
    "gateway": {"generation": 1, "restarts": 2},
    "rollout": {
        "current": {
            "to": "v2",
            "state": "running",
            "share": 5.0,
            "elapsed_s": 120.0,
            "interval_s": 300.0,
        },
        "outcomes": {"v2": {"advanced": 1, "aborted": 0, "done": 0}},
    },
    "versions": [
        {
            "name": "v1",
            "enabled": True,
            "default": True,
            "endpoint": "/rerank/v1",
            "description": "the first",
            "source": "v1",
            "state": "RUNNING",
            "degraded": "gpu_memory",
            "restarts": 3,
            "totals": {"requests": 10, "pairs": 20, "tokens": 300, "errors": 1},
            "queue": {"in_flight": 2, "queued_pairs": 40},
            "duration": {"count": 10, "sum_s": 2.5, "p50": 0.2, "p90": 0.3, "p95": 0.4, "p99": 0.5},
            "instances": [
                {"id": "v1.1", "state": "RUNNING", "memory_bytes": 100, "gpu_memory_bytes": 10},
                {"id": "v1.2", "state": "STARTING", "memory_bytes": 50, "gpu_memory_bytes": 5},
            ],
        },
        {
            "name": "v2",
            "enabled": False,
            "default": False,
            "endpoint": "/rerank/v2",
            "description": "",
            "source": "v2",
            "state": "DISABLED",
            "restarts": 0,
            "duration": {"count": 0, "sum_s": 0.0, "p50": None},
        },
    ],
}


def publish_state(directory: Path, state: object) -> None:
    """Put a state file in place."""
    temporary = directory / "state.tmp"
    temporary.write_bytes(orjson.dumps(state))
    temporary.rename(directory / "state.json")
