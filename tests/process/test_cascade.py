"""A cascade through the real supervisor: it serves while its stages do, also while they change."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.process.load import Load
from tests.process.server import READY_S, Server, version_of

pytestmark = pytest.mark.process

DOCS = ["one", "two", "three", "four"]
Version = dict[str, object]
ONE: Version = {"env": {"TEST_SCORE": "0.4"}}
TWO: Version = {"env": {"TEST_SCORE": "0.8"}}
THREE: Version = {"env": {"TEST_SCORE": "0.9"}}
SPARE: Version = {"env": {"TEST_SCORE": "0.1"}, "fallback": "none"}


def fast(last: str = "v2", **more: object) -> Version:
    """Return a cascade of v1, which keeps one document, and another."""
    return {"cascade": [{"version": "v1", "keep": 1}, {"version": last}], **more}


def test_a_cascade_runs_on_its_stages_processes(server: Server) -> None:
    server.configure("v2-fast", {"v1": ONE, "v2": TWO, "v2-fast": fast()})

    server.start()

    answer = server.rerank(docs=DOCS)
    assert answer.headers["X-Rerank-Version"] == "v2-fast"
    assert answer.headers["X-Rerank-Cascade"] == "v1:4>1; v2:1"
    scores = answer.json()["scores"]
    assert scores[:1] == server.rerank("/rerank/v2", docs=DOCS[:1]).json()["scores"]
    assert scores[0] > scores[1] > scores[2] > scores[3]
    assert [r["stage"] for r in answer.json()["results"]] == ["v2", "v1", "v1", "v1"]
    assert server.version("v2-fast")["instances"] == []
    assert server.cli("status").stdout.splitlines()[2] == "v2-fast: RUNNING (cascade: v1:1 > v2)"


def test_a_cascade_whose_stage_died_is_answered_by_its_fallback_and_comes_back(
    server: Server,
) -> None:
    versions: dict[str, Version] = {
        "v1": ONE,
        "v2": TWO,
        "v3": SPARE,
        "v2-fast": fast(fallback="v3"),
    }
    server.configure("v3", versions)
    server.start()
    killed = server.pid_of("v1")

    os.kill(killed, signal.SIGKILL)
    during = server.wait(
        lambda s: version_of(s, "v2-fast")["state"] != "RUNNING", "the cascade is not served"
    )
    meanwhile = server.rerank("/rerank/v2-fast", docs=DOCS)
    strict = server.rerank("/rerank/v2-fast", docs=DOCS, X_Rerank_Strict="1")

    assert version_of(during, "v2-fast")["reason"].startswith("stage v1: ")
    assert meanwhile.headers["X-Rerank-Version"] == "v3"
    assert meanwhile.json()["fallback"]["from"] == "v2-fast"
    assert strict.status_code == 503
    server.wait_version("v2-fast", "RUNNING")
    assert server.rerank("/rerank/v2-fast", docs=DOCS).headers["X-Rerank-Version"] == "v2-fast"


def test_a_changed_cascade_serves_by_its_old_stages_until_the_new_ones_run(server: Server) -> None:
    server.configure("v2-fast", {"v1": ONE, "v2": TWO, "v2-fast": fast()})
    server.start()
    old = server.pid_of("v2")

    with Load(server.url, ["v2-fast"]) as load:
        load.wait_for(20)
        server.configure("v2-fast", {"v1": ONE, "v3": THREE, "v2-fast": fast("v3")})
        done = server.cli("reload")
        load.wait_for(20)

    assert (done.returncode, done.stdout) == (0, "started: v3\nstopped: v2\nkept: v1\n")
    assert {(r.status, r.served, r.fallback) for r in load.records} == {(200, "v2-fast", "")}
    assert server.rerank(docs=DOCS).headers["X-Rerank-Cascade"] == "v1:4>1; v3:1"
    server.until(lambda: not Path(f"/proc/{old}").exists(), "the old stage is gone")
    changed = [(e["from"], e["to"]) for e in server.events() if e.get("reason") == "stages"]
    assert changed == [(None, "v1:1 > v2"), ("v1:1 > v2", "v1:1 > v3")]


def test_a_new_stage_that_cannot_start_leaves_the_cascade_as_it_was(server: Server) -> None:
    server.configure("v2-fast", {"v1": ONE, "v2": TWO, "v2-fast": fast()})
    server.start()

    broken: Version = {"env": {"TEST_MODE": "fail at import"}}
    server.configure("v2-fast", {"v1": ONE, "v3": broken, "v2-fast": fast("v3")})
    done = server.cli("reload")

    assert done.returncode == 1
    assert done.stdout == "started: v3\nkept: v1, v2\n"
    assert "v3: " in done.stderr
    told = server.cli("status").stdout
    assert "v2-fast: RUNNING (cascade: still v1:1 > v2; stage v3: FAILED: " in told
    assert "CPU; no longer configured; v2-fast still answers by it)" in told
    answer = server.rerank(docs=DOCS)
    assert answer.headers["X-Rerank-Cascade"] == "v1:4>1; v2:1"
    assert server.version("v2-fast")["cascade"][1]["version"] == "v2"


def test_a_version_becomes_a_cascade_without_a_gap(server: Server) -> None:
    server.configure("v2-fast", {"v1": ONE, "v2-fast": TWO})
    server.start()

    with Load(server.url, ["v2-fast"]) as load:
        load.wait_for(10)
        server.configure("v2-fast", {"v1": ONE, "v2": TWO, "v2-fast": fast()})
        done = server.cli("reload")
        load.wait_for(10)

    assert done.returncode == 0
    assert {(r.status, r.served, r.fallback) for r in load.records} == {(200, "v2-fast", "")}
    assert server.rerank(docs=DOCS).headers["X-Rerank-Cascade"] == "v1:4>1; v2:1"
    server.wait(lambda s: not version_of(s, "v2-fast")["instances"], "its process is gone")


def test_what_is_done_to_processes_is_refused_by_the_stages_names(server: Server) -> None:
    server.configure("v2", {"v1": ONE, "v2": TWO, "v2-fast": fast()})
    server.start()

    for verb in (["reset", "v2-fast"], ["restart", "v2-fast"], ["move", "v2-fast", "cpu"]):
        done = server.cli(*verb)
        assert done.returncode == 1
        assert "v2-fast is a cascade and has no process of its own; name one of its" in done.stderr

    probed = server.cli("probe", "v2-fast", timeout_s=READY_S)
    assert "v1.1: " in probed.stdout
    assert "v2.1: " in probed.stdout


def test_a_document_that_kills_a_stage_kills_two_workers_at_most(server: Server) -> None:
    server.configure("v3", {"v1": ONE, "v2": TWO, "v3": SPARE, "v2-fast": fast(fallback="v3")})
    server.start()
    docs = ["please crash", "two", "three"]

    first = server.rerank("/rerank/v2-fast", docs=docs)
    second = server.rerank("/rerank/v2-fast", docs=docs)

    assert (first.status_code, second.status_code) == (502, 502)
    server.wait_version("v2-fast", "RUNNING")
    restarts = {name: server.version(name)["restarts"] for name in ("v1", "v2", "v3")}
    assert sum(restarts.values()) <= 2
