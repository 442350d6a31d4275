"""A mirror from one demo version to another, on real weights, from the config to the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.gateway.harness import series
from tests.process.server import Server

pytestmark = [pytest.mark.process, pytest.mark.weights]

PAIR = 'to="v1-bge-small",version="v2-minilm"'
QUERY = "Which company built the first jet airliner?"
DOCS = [
    "The de Havilland Comet was the world's first commercial jet airliner, in service in 1952.",
    "Bamboo is what pandas eat.",
    "The Boeing 707 entered service in 1958.",
    "Concorde was a supersonic aircraft.",
]
REQUESTS = 5


@pytest.fixture
def server(demo_models: Path, short_dir: Path) -> Iterator[Server]:
    """Return a server over the demo versions, not started."""
    server = Server(short_dir)
    server.models_dir = demo_models
    yield server
    server.close()


def configure(server: Server, mirror: Mapping[str, object] | None = None) -> None:
    versions: Mapping[str, Mapping[str, object]] = {
        "v2-minilm": {"description": "cross-encoder"},
        "v1-bge-small": {"description": "bi-encoder"},
    }
    server.configure("v2-minilm", versions, mirror=mirror)


def counted(server: Server, name: str) -> float:
    """Return a counter of the mirror, 0 before it is there."""
    said = series(server.client.get("/metrics").text)
    found = [value for key, value in said.items() if key.startswith(name) and PAIR in key]
    return sum(found)


def ask(server: Server) -> None:
    for _ in range(REQUESTS):
        answer = server.client.post("/rerank", json={"query": QUERY, "docs": DOCS})
        assert answer.status_code == 200
        assert answer.json()["version"] == "v2-minilm"


def test_a_mirror_is_switched_on_by_a_reload_and_compares_two_versions(server: Server) -> None:
    configure(server)
    server.start()
    pids = [server.pid_of(name) for name in ("v2-minilm", "v1-bge-small")]
    ask(server)
    assert counted(server, "reranker_mirror_requests_total") == 0

    configure(server, mirror={"to": "v1-bge-small", "share": 1.0})
    assert server.cli("reload").returncode == 0
    ask(server)
    compared = 'reranker_mirror_requests_total{result="compared"'
    server.until(lambda: counted(server, compared) == REQUESTS, "every copy was compared")

    assert [server.pid_of(name) for name in ("v2-minilm", "v1-bge-small")] == pids
    assert counted(server, "reranker_mirror_requests_total") == REQUESTS
    assert counted(server, "reranker_mirror_pairs_total") == REQUESTS * len(DOCS)
    assert counted(server, "reranker_mirror_top1_agreements_total") == REQUESTS
    assert counted(server, "reranker_mirror_overlap_ratio_sum") == REQUESTS
    assert 0 < counted(server, "reranker_mirror_kendall_tau_sum") <= REQUESTS
    assert counted(server, "reranker_mirror_kendall_tau_count") == REQUESTS
    assert counted(server, "reranker_mirror_latency_ratio_sum") > 0

    said = series(server.client.get("/metrics").text)
    assert said['reranker_requests_total{status="200",version="v2-minilm"}'] == 2 * REQUESTS
    assert not any(key.startswith("reranker_requests_total") and "bge" in key for key in said)

    assert server.stop() == 0
