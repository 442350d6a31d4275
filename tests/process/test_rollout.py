"""A rollout on a real server under load: good, slow, failing and drifting arms, and silence."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import pytest

from tests.process.server import Server

pytestmark = pytest.mark.process

CODE = '''
"""A version that turns bad when a file says so."""
import os, time

def rerank(query, docs):
    time.sleep(0.01)
    try:
        mood = open(os.environ["TEST_MOOD"]).read()
    except FileNotFoundError:
        mood = ""
    if mood == "failing":
        raise RuntimeError("it fails")
    if mood == "slow":
        time.sleep(0.2)
    scores = [0.9 - 0.1 * index for index, _ in enumerate(docs)]
    return scores[::-1] if mood == "drifting" else scores
'''
INTERVAL_S = 2.0
A_TICK_S = 2.0
"""The gateway tells once a second, and the supervisor looks once a second."""
GUARDS = {"error_ratio": 0.05, "p95_ratio": 50.0, "min_requests": 10}
COURSE = {
    "to": "v2",
    "steps": [10.0, 50.0, 100.0],
    "interval_s": INTERVAL_S,
    "guards": GUARDS,
}


@contextmanager
def load(server: Server, clients: int = 4) -> Iterator[list[httpx.Response]]:
    """Ask without naming a version, each request with a key of its own, until the block ends."""
    stop, answers = threading.Event(), list[httpx.Response]()

    def ask(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=30.0) as client:
            count = 0
            while not stop.is_set():
                count += 1
                key = {"X-Rerank-Key": f"client {number} request {count}"}
                body = {"query": "q", "docs": ["one", "two", "three"]}
                answers.append(client.post("/rerank", json=body, headers=key))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def start(server: Server, *, processes: int = 1, **rollout: object) -> None:
    """Start a server whose config rolls out v2, by a course with these changes."""
    directory = server.models_dir / "v2"
    directory.mkdir(parents=True)
    (directory / "rerank.py").write_text(CODE)
    mood = {"TEST_MOOD": str(server.root / "mood")}
    server.configure(
        "v1",
        {"v1": {"env": {"TEST_SERVICE_S": "0.01"}}, "v2": {"env": mood}},
        rollout={**COURSE, **rollout},
        server={"gateway_processes": processes},
    )
    server.start()


def turn(server: Server, mood: str) -> None:
    """Have v2 behave like that from now on."""
    (server.root / "mood").write_text(mood)


def current(state: Mapping[str, Any]) -> dict[str, Any]:
    found = state["rollout"]["current"]
    return {} if found is None else dict(found)


def wait_state(server: Server, state: str, timeout_s: float = 60.0) -> dict[str, Any]:
    found = server.wait(lambda s: current(s).get("state") == state, f"it is {state}", timeout_s)
    return current(found)


def wait_share(server: Server, share: float, timeout_s: float = 60.0) -> dict[str, Any]:
    return server.wait(
        lambda s: current(s).get("share", 0.0) >= share, f"it has {share}%", timeout_s
    )


def events(server: Server) -> list[dict[str, Any]]:
    return [e for e in server.events() if str(e.get("event", "")).startswith("rollout ")]


def words(server: Server) -> list[str]:
    return [str(event["event"]).removeprefix("rollout ") for event in events(server)]


def routed(server: Server) -> dict[str, float]:
    """Return the shares that the gateway routes by."""
    table = json.loads((server.run_dir / "routes.json").read_text())
    return {arm["version"]: arm["share"] for arm in table["traffic"]["arms"]}


def test_a_good_arm_gets_all_the_traffic_step_by_step(server: Server) -> None:
    start(server, processes=2)

    with load(server) as answers:
        done = wait_state(server, "done")

    assert {answer.status_code for answer in answers} == {200}
    assert words(server) == ["started", "begun", "advanced", "advanced", "done"]
    assert [e["share"] for e in events(server)] == [0.0, 10.0, 50.0, 100.0, 100.0]
    last = events(server)[-1]["figures"]
    assert last["requests"] >= 10
    assert (last["errors"], done["share"], routed(server)) == (0, 100.0, {"v2": 100.0})


def test_once_its_version_is_the_default_a_rollout_is_finished(server: Server) -> None:
    start(server, steps=[100.0], interval_s=1.0)
    with load(server, clients=1):
        wait_state(server, "done")
    versions = server.config["versions"]
    assert isinstance(versions, dict)

    server.configure("v2", versions)
    reload = server.cli("reload")

    assert (reload.returncode, reload.stdout) == (0, "kept: v1, v2\n")
    server.wait(lambda state: not current(state), "it is forgotten")
    assert (words(server)[-1], routed(server)) == ("finished", {})
    assert server.rerank().headers["x-rerank-version"] == "v2"


@pytest.mark.parametrize(("mood", "guard"), [("failing", "error_ratio"), ("slow", "p95_ratio")])
def test_a_bad_arm_loses_its_traffic(server: Server, mood: str, guard: str) -> None:
    start(server, guards={**GUARDS, "p95_ratio": 5.0}, interval_s=4.0)

    with load(server) as answers:
        wait_share(server, 10.0)
        turned = time.time()
        turn(server, mood)
        aborted = wait_state(server, "aborted")
        server.until(lambda: not routed(server), "no arm has traffic")
        asked = len(answers)
        server.until(lambda: len(answers) > asked + 200, "others are answered")

    assert aborted["reason"].startswith(guard)
    assert aborted["share"] == 0.0
    assert events(server)[-1]["time"] - turned < 2 * 4.0 + A_TICK_S
    assert words(server) == ["started", "begun", "aborted"]
    assert events(server)[-1]["figures"]["requests"] >= 1
    last = [answer.headers["x-rerank-version"] for answer in answers[-20:]]
    assert last == ["v1"] * 20


def test_an_arm_that_ranks_otherwise_loses_its_traffic(server: Server) -> None:
    start(server, guards={**GUARDS, "mirror_tau": 0.6}, interval_s=6.0)
    turn(server, "drifting")

    with load(server):
        aborted = wait_state(server, "aborted")

    assert aborted["reason"].startswith("mirror_tau: mean tau is -1.000")
    table = json.loads((server.run_dir / "routes.json").read_text())
    assert table["mirror"] is None, "nobody needs the copies any more"


def test_it_aborts_when_the_gateway_tells_nothing_any_more(server: Server) -> None:
    start(server)

    with load(server, clients=1):
        wait_share(server, 10.0)
        front = psutil.Process(server.state()["gateway"]["pid"])
        stopped = [front, *front.children(recursive=True)]
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            aborted = wait_state(server, "aborted")
        finally:
            for process in stopped:
                process.send_signal(signal.SIGCONT)

    assert aborted["reason"].startswith("no figures came from the gateway for 1")


def test_a_restart_of_the_server_keeps_the_step(server: Server) -> None:
    start(server, interval_s=600.0)
    with load(server):
        before = wait_share(server, 10.0)
        server.until(
            lambda: current(server.state())["figures"]["requests"] > 5, "some were counted"
        )

    assert current(before)["step"] == 1
    server.stop()
    server.start()
    with load(server):
        after = wait_share(server, 10.0)
        server.until(
            lambda: current(server.state())["figures"]["requests"] > 5, "more were counted"
        )

    assert (current(after)["step"], current(after)["state"]) == (1, "running")
    assert routed(server) == {"v2": 10.0}
    assert words(server) == ["started", "begun"]


def test_a_killed_supervisor_changes_nothing_either(server: Server) -> None:
    start(server, interval_s=600.0)
    wait_share(server, 10.0)
    assert server.process is not None

    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    server.start()

    assert current(wait_share(server, 10.0))["state"] == "running"
    assert words(server) == ["started", "begun"]


def test_orders_start_and_stop_no_process(server: Server) -> None:
    server.configure("v1", {"v1": {}, "v2": {}, "v3": {"enabled": False}})
    server.start()
    assert server.process is not None
    family = set(psutil.Process(server.process.pid).children(recursive=True))
    text = server.config_path.read_text()

    def order(*words: str) -> str:
        done = server.cli("rollout", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[0]

    began = order("start", "v2", "--steps", "10,50", "--interval", "600")
    assert began in ("v2 running at 0%, waits until v2 runs", "v2 running at 10%, step 1 of 2")
    wait_share(server, 10.0)
    assert order("pause") == "v2 paused at 10%, step 1 of 2"
    assert order("resume") == "v2 running at 10%, step 1 of 2"
    refused = server.cli("traffic", "v2=20")
    assert (refused.returncode, refused.stderr) == (
        1,
        "error: refused: a rollout to v2 is under way and decides the shares; end it first: "
        "rerank-server rollout abort\n",
    )
    assert order("promote") == "v2 running at 100%, promoted"
    assert server.rerank().headers["x-rerank-version"] == "v2"
    assert order("abort") == "v2 aborted at 0%"
    assert server.rerank().headers["x-rerank-version"] == "v1"
    assert "rollout: v2 aborted at 0%" in server.cli("status").stdout
    refused = server.cli("rollout", "start", "v3")
    assert refused.stderr.startswith("error: refused: to: 'v3' is not enabled")

    assert set(psutil.Process(server.process.pid).children(recursive=True)) == family
    assert server.config_path.read_text() == text
    metrics = server.client.get("/metrics").text
    assert 'reranker_rollout_state{state="aborted",version="v2"} 1.0' in metrics
    assert 'reranker_rollout_steps_total{outcome="aborted",version="v2"} 0.0' in metrics
    assert words(server) == ["started", "begun", "paused", "resumed", "promoted", "aborted"]
    assert {str(event.get("actor", "cli"))[:3] for event in events(server)} == {"cli"}
