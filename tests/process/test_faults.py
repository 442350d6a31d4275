"""One fault at a time, through the real supervisor: found in time, contained, mended or named."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time

import httpx
import psutil
import pytest

from tests.process.load import Load
from tests.process.server import Server, version_of

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]

GOOD = {"env": {"TEST_SCORE": "0.1"}}


def faulty(mode: str, **more: object) -> dict[str, object]:
    """Return a version's config with that fault in it."""
    env = {"TEST_MODE": mode, "TEST_SCORE": "0.2"}
    return {"env": env, "fallback": "v1", **more}


def ask_in_background(server: Server, path: str, doc: str) -> threading.Thread:
    """Send a request that may never be answered."""

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            client.post(path, json={"query": "q", "docs": [doc]})

    url = server.url
    thread = threading.Thread(target=ask)
    thread.start()
    return thread


@pytest.mark.parametrize("doc", ["please raise", "please say NaN", "please say too little"])
def test_a_model_error_fails_that_request_alone(server: Server, doc: str) -> None:
    server.configure("v1", {"v1": GOOD})
    server.start()
    pid = server.pid_of("v1")

    failed = server.rerank(docs=[doc])
    after = server.rerank()

    assert failed.status_code == 500
    assert failed.json()["error"]["code"] == "model_error"
    assert after.status_code == 200
    assert server.pid_of("v1") == pid


def test_many_model_errors_in_a_row_replace_the_worker(server: Server) -> None:
    server.configure("v1", {"v1": GOOD})
    server.start()
    pid = server.pid_of("v1")

    for _ in range(20):
        assert server.rerank(docs=["please raise"]).status_code == 500
    server.wait(lambda s: version_of(s, "v1")["restarts"] == 1, "it was replaced")
    server.wait_version("v1", "RUNNING")

    assert server.pid_of("v1") != pid
    assert any("unhealthy" in str(e.get("reason")) for e in server.events())


def test_a_crash_in_score_is_retried_elsewhere_and_the_worker_comes_back(server: Server) -> None:
    server.configure("v1", {"v1": GOOD, "v2": faulty("crash on the twelfth request")})
    server.start()

    # the warm-up takes some of the twelve
    answers = [server.rerank("/rerank/v2") for _ in range(12)]
    server.wait_version("v2", "RUNNING")

    assert {a.status_code for a in answers} == {200}
    assert "v1" in {a.headers["X-Rerank-Version"] for a in answers}
    assert any("SIGSEGV" in str(e.get("reason")) for e in server.events())


def test_a_batch_without_end_is_found_dumped_and_replaced(server: Server) -> None:
    server.configure("v1", {"v1": GOOD, "v2": faulty("", fallback="none", max_batch_s=2)})
    server.start()
    pid = server.pid_of("v2")

    stuck = ask_in_background(server, "/rerank/v2", "please hang")
    server.wait(lambda s: version_of(s, "v2")["restarts"] >= 1, "it was replaced", timeout_s=20)
    server.wait_version("v2", "RUNNING", timeout_s=20)
    stuck.join(30)

    assert not psutil.pid_exists(pid)
    assert any("one batch ran longer than 2 s" in str(e.get("reason")) for e in server.events())
    assert "rerank.py" in (server.state_dir / "logs" / "v2.log").read_text()


def test_code_that_never_lets_go_of_the_interpreter_is_found_and_replaced(server: Server) -> None:
    server.configure("v1", {"v1": GOOD, "v2": faulty("", fallback="none")})
    server.start()
    pid = server.pid_of("v2")

    stuck = ask_in_background(server, "/rerank/v2", "please hold the GIL")
    server.wait(lambda s: version_of(s, "v2")["restarts"] >= 1, "it was replaced", timeout_s=30)
    stuck.join(30)

    assert not psutil.pid_exists(pid)
    assert any("no sign of life" in str(e.get("reason")) for e in server.events())
    assert "re/__init__.py" in (server.state_dir / "logs" / "v2.log").read_text()


def test_a_hang_at_import_ends_at_the_start_timeout(server: Server) -> None:
    server.configure("v1", {"v1": GOOD, "v2": faulty("hang at import", start_timeout_s=1)})

    server.spawn()
    waiting = server.wait_version("v2", "BACKOFF")

    assert "not ready within 1 s" in str(waiting["reason"])
    assert server.rerank("/rerank/v2").headers["X-Rerank-Version"] == "v1"


def test_a_worker_that_does_not_hear_term_is_killed_within_the_stop_timeout(
    server: Server,
) -> None:
    server.configure("v1", {"v1": GOOD}, server={"stop_timeout_s": 4})
    server.start()
    pid = server.pid_of("v1")

    os.kill(pid, signal.SIGSTOP)
    assert server.stop(timeout_s=6) == 0

    assert not psutil.pid_exists(pid)


def test_a_grandchild_goes_with_its_worker(server: Server) -> None:
    server.configure("v1", {"v1": GOOD, "v2": faulty("leak a grandchild")})
    server.start()
    leaked = psutil.Process(server.pid_of("v2")).children(recursive=True)
    assert leaked

    server.configure("v1", {"v1": GOOD, "v2": {**faulty("leak a grandchild"), "enabled": False}})
    assert server.cli("reload").returncode == 0

    _, alive = psutil.wait_procs(leaked, timeout=5)
    assert alive == []


def test_a_loud_worker_starts_and_its_noise_stays_in_its_log(server: Server) -> None:
    server.configure("v1", {"v1": GOOD, "v2": faulty("shout")})

    server.start()

    assert server.version("v2")["state"] == "RUNNING"
    assert (server.state_dir / "logs" / "v2.log").stat().st_size > 500_000
    assert "noise" not in (server.root / "supervisor.log").read_text()


def test_an_exit_code_is_named_with_the_last_words(server: Server) -> None:
    server.configure("v1", {"v1": GOOD, "v2": faulty("exit at import")})

    server.start()

    assert "exited with code 17" in str(server.wait_version("v2", "BACKOFF")["reason"])


def test_reset_tries_a_failed_version_again(server: Server) -> None:
    flag = server.root / "flag"
    broken = faulty("fail without the flag")
    broken["env"] = {**broken["env"], "TEST_FLAG": str(flag)}  # type: ignore[dict-item]  # JSON
    server.configure("v1", {"v1": GOOD, "v2": broken})
    server.start()
    server.wait(
        lambda s: version_of(s, "v2")["state"] in ("FAILED", "BACKOFF"), "it failed at first"
    )

    flag.touch()
    done = server.cli("reset", "v2")

    assert done.returncode == 0, done.stderr
    assert server.version("v2")["state"] == "RUNNING"


def test_a_gateway_that_cannot_boot_leaves_the_old_one_serving(server: Server) -> None:
    server.configure("v1", {"v1": GOOD})
    server.start()
    generation = server.state()["gateway"]["generation"]
    metrics = server.run_dir / "metrics"
    metrics.rename(server.run_dir / "metrics.old")
    metrics.touch()  # a gateway process cannot claim its counters in a file

    with Load(server.url, ["v1"]) as load:
        server.configure("v1", {"v1": GOOD}, server={"gateway_processes": 2})
        server.hang_up()
        server.wait(lambda s: s["gateway"]["reason"] is not None, "the new one failed", 40)
        load.wait_for(10)

    assert load.failures() == []
    assert server.state()["gateway"]["generation"] == generation


def test_a_client_that_sends_half_a_request_does_not_hold_a_stop(server: Server) -> None:
    server.configure("v1", {"v1": GOOD}, server={"stop_timeout_s": 6})
    server.start()
    host, _, port = server.url.removeprefix("http://").partition(":")

    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n{")
        began = time.monotonic()
        assert server.stop() == 0
        took_s = time.monotonic() - began

    assert took_s < 6 + 2


@pytest.mark.skipif(os.geteuid() != 0, reason="a process id namespace needs root")
def test_as_pid_1_it_works_and_reaps_strangers(server: Server) -> None:
    server.wrapper = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    server.configure("v1", {"v1": faulty("leak a grandchild", fallback="none")})
    server.start()
    assert server.process is not None
    supervisor = psutil.Process(server.process.pid).children()[0]
    assert server.state()["server"]["pid"] == 1

    # A shell that leaves a child behind: the orphan falls to pid 1, here the supervisor.
    space = f"--pid=/proc/{server.process.pid}/ns/pid_for_children"
    left = subprocess.run(
        ["nsenter", space, "sh", "-c", "sleep 0.1 & echo"], check=True, capture_output=True
    )
    assert left.returncode == 0

    server.until(
        lambda: not any(c.status() == psutil.STATUS_ZOMBIE for c in supervisor.children()),
        "the orphan is reaped",
    )
    assert server.rerank().status_code == 200

    supervisor.terminate()  # `unshare` itself hears no TERM, and so ends as its child does

    assert server.process.wait(20) == 0


def test_every_setting_but_a_spec_changes_without_a_restart(server: Server) -> None:
    server.configure("v1", {"v1": GOOD, "v2": {**GOOD, "fallback": "v1"}})
    server.start()
    pids = [server.pid_of(name) for name in ("v1", "v2")]

    server.configure(
        "v2",
        {
            "v2": {**GOOD, "endpoint": "/second", "description": "moved", "start_timeout_s": 9},
            "v1": {**GOOD, "fallback": "none", "max_batch_s": 60},
        },
        server={"max_docs": 3, "request_timeout_s": 9},
    )
    done = server.cli("reload")

    assert done.returncode == 0, done.stderr
    assert [server.pid_of(name) for name in ("v1", "v2")] == pids
    assert server.state()["default"] == "v2"
    assert server.rerank("/second").headers["X-Rerank-Version"] == "v2"
    assert server.rerank(docs=["a", "b", "c", "d"]).status_code == 413
    assert [v["name"] for v in server.state()["versions"]] == ["v2", "v1"]


def test_a_newer_reload_supersedes_one_that_still_loads(server: Server) -> None:
    slow = {"env": {"TEST_MODE": "slow", "TEST_SECONDS": "3600"}}
    server.configure("v1", {"v1": GOOD})
    server.start()
    server.configure("v1", {"v1": GOOD, "v2": slow})
    first = subprocess.Popen(
        server.argv("reload"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    server.wait_version("v2", "STARTING")

    server.configure("v1", {"v1": GOOD, "v3": GOOD})
    second = server.cli("reload")
    _, said = first.communicate(timeout=30)

    assert second.returncode == 0, second.stderr
    assert first.returncode == 1
    assert "superseded" in said
    assert {v["name"]: v["state"] for v in server.state()["versions"]} == {
        "v1": "RUNNING",
        "v3": "RUNNING",
    }
