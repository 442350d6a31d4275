"""What is read from state.json, and what is refused."""

from __future__ import annotations

import json

import pytest

from rerank_server.core import snapshot, status
from rerank_server.core.publish import Usage, version_state
from rerank_server.core.stats import VersionStats
from rerank_server.core.types import Instance, Slot, State
from rerank_server.core.wanted import WantedVersion, WorkerSpec
from tests.core.state_json import instance, seed, state, version, view


@pytest.mark.parametrize("traffic", [[], {"source": "config"}, {"source": "x", "arms": []}])
def test_a_split_that_cannot_be_read_is_a_wrong_state(traffic: object) -> None:
    with pytest.raises(ValueError, match=r"traffic|'x' is not a valid Source"):
        snapshot.read({**state(), "traffic": traffic})


RUNS = version("v2-m3", "RUNNING", instance("v2-m3", 1, 5), default=True)
LOADS = version("v1", "STARTING", instance("v1", 1, 6, "STARTING"))
TRIED = version("v1", "STARTING", instance("v1", 2, 7, "STARTING"), restarts=1)
WAITS = version("v1", "BACKOFF", attempt=1, reason="killed")
FAILED = version("v1", "FAILED", reason="bad weights\nline 2")
OFF = version("v1", "DISABLED", enabled=False)


@pytest.mark.parametrize(
    ("value", "settled", "serves", "failures"),
    [
        (state(RUNS), True, True, []),
        (state(RUNS, LOADS), False, True, ["v1: STARTING"]),
        (state(RUNS, TRIED), True, True, ["v1: STARTING"]),
        (state(RUNS, WAITS), True, True, ["v1: killed"]),
        (state(RUNS, FAILED), True, True, ["v1: bad weights"]),
        (state(RUNS, OFF), True, True, []),
        (state(LOADS, default="v1"), False, False, ["v1: STARTING"]),
        (state(FAILED, default="v1"), True, False, ["v1: bad weights"]),
        (state(RUNS, gateway="STARTING"), False, False, []),
        (state(RUNS, gateway="BACKOFF", gateway_restarts=1), True, False, []),
        (state(RUNS, default="v9"), True, False, []),
        (state(), True, False, []),
    ],
)
def test_settled_serving_and_failed_are_told_apart(
    value: dict[str, object], settled: bool, serves: bool, failures: list[str]
) -> None:
    seen = snapshot.read(value)

    assert (seen.is_settled, seen.default_serves) == (settled, serves)
    assert status.failures(seen) == failures


def test_what_the_supervisor_publishes_can_be_read() -> None:
    spec = WorkerSpec("v1", "/models/v1", "f", "/usr/bin/python3")
    wanted = WantedVersion("v1", True, "/rerank/v1", "about", "v1", None, spec)
    running = Instance("v1.1", spec, State.RUNNING, since=9.0, spawned_at=8.0, beat_at=10.0, pid=7)
    stats, usage = VersionStats(), {"v1.1": Usage(memory_bytes=5_000_000)}
    published = version_state(
        wanted, Slot("v1", (running,)), stats, usage, now=10.0, is_default=True
    )

    seen = view(json.loads(json.dumps(published)))

    assert status.line(seen) == "v1: RUNNING (PID: 7, CPU)"
    assert (seen.is_default, seen.p95_s, seen.instances[0].uptime_s) == (True, None, 2.0)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("schema",), 2, "schema 2, this release reads 1"),
        (("time",), "now", "time: not a number"),
        (("time",), True, "time: not a number"),
        (("server",), [], "server: not an object"),
        (("server", "pid"), 1.5, "pid: not an integer"),
        (("server", "pid"), True, "pid: not an integer"),
        (("server", "url"), None, "url: not a string"),
        (("versions",), {}, "versions: not a list"),
        (("versions", 0), "v1", "versions: not an object"),
        (("versions", 0, "enabled"), 1, "enabled: not true or false"),
        (("versions", 0, "instances"), None, "instances: not a list"),
        (("versions", 0, "instances", 0), 1, "instances: not an object"),
        (("versions", 0, "retry_in_s"), "soon", "retry_in_s: not a number"),
    ],
)
def test_a_state_that_cannot_be_read_names_what_is_wrong(
    path: tuple[str | int, ...], value: object, problem: str
) -> None:
    whole = json.loads(json.dumps(seed()))
    holder = whole
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value

    with pytest.raises(ValueError, match=problem):
        snapshot.read(whole)


def test_stages_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="cascade: "):
        snapshot.read(state(version("v2", "RUNNING") | {"cascade": 3}))
