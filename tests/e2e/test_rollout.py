"""Traffic rolled out from one demo version to the other, on real weights and under load."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.process.server import Server

pytestmark = [pytest.mark.process, pytest.mark.weights]

DEFAULT, OTHER = "v2-minilm", "v1-bge-small"
COURSE = ("--steps", "20,60", "--interval", "3", "--min-requests", "5", "--p95-ratio", "20")
DOCS = [
    "The de Havilland Comet was the world's first commercial jet airliner.",
    "Boeing 707 entered service in 1958, developed by Boeing Company.",
    "Concorde was a supersonic transport aircraft, not a commercial jet airliner.",
    "A recipe for soup with beans and carrots.",
]
PATIENCE_S = 100.0


@pytest.fixture
def server(demo_models: Path, short_dir: Path) -> Iterator[Server]:
    server = Server(short_dir)
    server.models_dir = demo_models
    server.configure(DEFAULT, {DEFAULT: {"threads": 1}, OTHER: {"threads": 1}})
    server.start()
    yield server
    server.close()


@contextmanager
def load(server: Server) -> Iterator[list[httpx.Response]]:
    """Ask all the while, each request with a key of its own, and gather the answers."""
    stop, answers = threading.Event(), list[httpx.Response]()

    def ask() -> None:
        with httpx.Client(base_url=server.url, timeout=30.0) as client:
            while not stop.is_set():
                key = {"X-Rerank-Key": f"user {len(answers)}"}
                body = {"query": "When did the first jet airliner enter service?", "docs": DOCS}
                answers.append(client.post("/rerank", json=body, headers=key))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def wait_for(server: Server, state: str) -> dict[str, Any]:
    found = server.wait(
        lambda s: (s["rollout"]["current"] or {}).get("state") == state, state, PATIENCE_S
    )
    return dict(found["rollout"]["current"])


def test_a_version_that_does_well_gets_its_steps_and_then_everything(server: Server) -> None:
    with load(server) as answers:
        assert server.cli("rollout", "start", OTHER, *COURSE).returncode == 0
        assert wait_for(server, "done")["share"] == 60.0
        assert server.cli("rollout", "promote").returncode == 0
        asked = len(answers)
        server.until(lambda: len(answers) > asked + 20, "more was answered", PATIENCE_S)

    served = Counter(answer.headers["x-rerank-version"] for answer in answers[-10:])
    assert {answer.status_code for answer in answers} == {200}
    assert served == {OTHER: 10}


def test_a_version_that_ranks_otherwise_gets_nothing(server: Server) -> None:
    with load(server) as answers:
        done = server.cli("rollout", "start", OTHER, *COURSE, "--mirror-tau", "0.99")
        assert done.returncode == 0
        aborted = wait_for(server, "aborted")
        asked = len(answers)
        server.until(lambda: len(answers) > asked + 20, "more was answered", PATIENCE_S)

    served = Counter(answer.headers["x-rerank-version"] for answer in answers[-10:])
    assert aborted["reason"].startswith("mirror_tau: mean tau is ")
    assert {answer.status_code for answer in answers} == {200}
    assert served == {DEFAULT: 10}
    assert server.cli("rollout", "status").returncode == 1
