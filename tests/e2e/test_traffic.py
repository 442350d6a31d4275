"""Traffic moved from one demo version to the other and back, on real weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from rerank_server.core.traffic import Arm, Traffic, arm_of
from tests.process.server import Server

pytestmark = [pytest.mark.process, pytest.mark.weights]

DEFAULT, OTHER = "v2-minilm", "v1-bge-small"
KEYS = [f"user-{number}" for number in range(40)]
DOCS = ["The de Havilland Comet entered service in 1952.", "Concorde was supersonic."]


@pytest.fixture
def server(demo_models: Path, short_dir: Path) -> Iterator[Server]:
    server = Server(short_dir)
    server.models_dir = demo_models
    yield server
    server.close()


def test_shares_change_by_reload_and_by_hand_and_no_process_does(server: Server) -> None:
    server.configure(DEFAULT, {DEFAULT: {}, OTHER: {}}, traffic={OTHER: 10})
    server.start()
    assert server.process is not None
    family = set(psutil.Process(server.process.pid).children(recursive=True))

    assert answered(server) == expected(10)
    server.configure(DEFAULT, {DEFAULT: {}, OTHER: {}}, traffic={OTHER: 30})
    assert server.cli("reload").returncode == 0
    assert answered(server) == expected(30)
    assert server.cli("traffic", f"{OTHER}=60").returncode == 0
    assert answered(server) == expected(60)
    assert server.cli("traffic", "--reset").returncode == 0
    assert answered(server) == expected(30)

    # Pid and start time: a process that was replaced by one of the same pid would differ.
    assert set(psutil.Process(server.process.pid).children(recursive=True)) == family


def answered(server: Server) -> Sequence[str]:
    """Return whose scores each key got; by the scores themselves, not by what is said."""
    own = {
        tuple(server.rerank(f"/rerank/{name}", DOCS).json()["scores"]): name
        for name in (DEFAULT, OTHER)
    }
    assert len(own) == 2
    answers = [server.rerank(docs=DOCS, x_rerank_key=key) for key in KEYS]
    said = [answer.headers["x-rerank-version"] for answer in answers]
    assert [own[tuple(answer.json()["scores"])] for answer in answers] == said
    return said


def expected(share: float) -> Sequence[str]:
    split = Traffic((Arm(OTHER, share),))
    return [arm_of(split, DEFAULT, key) for key in KEYS]
