"""A cascade of two demo versions: what it keeps of the strong one's ranking, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.harness import series
from tests.process.server import Server

pytestmark = [pytest.mark.process, pytest.mark.weights]

QUERY = "Which company developed the first commercial jet airliner, in service from 1952?"
DOCS = [
    "Concorde was a supersonic transport aircraft, not a commercial jet airliner.",
    "Bread is baked from flour, water, salt and yeast.",
    "The de Havilland Comet was the first commercial jet airliner; it entered service in 1952.",
    "Boeing 707 entered service in 1958, developed by Boeing Company.",
    "The Danube flows through ten countries.",
    "A jet engine burns fuel in compressed air.",
]
KEEP = 3
CONFIG = {
    "v1-bge-small": {},
    "v2-minilm": {},
    "v2-fast": {
        "cascade": [{"version": "v1-bge-small", "keep": KEEP}, {"version": "v2-minilm"}],
        "fallback": "v2-minilm",
    },
}


@pytest.fixture
def server(short_dir: Path, demo_models: Path) -> Server:
    """Return a server over the demo's models whose default is a cascade of two of them."""
    server = Server(short_dir)
    server.models_dir = demo_models
    server.configure("v2-fast", CONFIG)
    return server


def test_a_cheap_version_prunes_and_the_strong_one_decides(server: Server) -> None:
    try:
        server.start()
        answers = {
            name: server.client.post(f"/rerank/{name}", json={"query": QUERY, "docs": DOCS})
            for name in CONFIG
        }
        metrics = series(server.client.get("/metrics").text)
        info = server.client.get("/info").json()
    finally:
        server.close()

    cheap, strong, fast = (answers[name].json() for name in CONFIG)
    kept = {result["index"] for result in cheap["results"][:KEEP]}
    by_stage = {result["index"]: result["stage"] for result in fast["results"]}
    assert {i for i, stage in by_stage.items() if stage == "v2-minilm"} == kept
    # Whoever went on has the strong version's own score, whatever was pruned beside it.
    assert [fast["scores"][i] for i in sorted(kept)] == pytest.approx(
        [strong["scores"][i] for i in sorted(kept)], abs=1e-6
    )
    order = [result["score"] for result in fast["results"]]
    assert order == sorted(set(order), reverse=True)
    assert fast["results"][0]["index"] == 2
    pruned = [result["index"] for result in fast["results"][KEEP:]]
    assert pruned == [result["index"] for result in cheap["results"][KEEP:]]
    assert answers["v2-fast"].headers["X-Rerank-Cascade"] == "v1-bge-small:6>3; v2-minilm:3"
    assert metrics['reranker_cascade_pruned_total{stage="v1-bge-small",version="v2-fast"}'] == 3
    assert (info["model_id"], info["cascade"][0]["keep"]) == ("v2-fast", KEEP)


def test_its_stages_are_verified_in_its_place(server: Server) -> None:
    config = ("--config", str(server.config_path), "--state-dir", str(server.state_dir))

    done = server.cli("verify", "v2-fast", *config, timeout_s=120)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "v1-bge-small (model): ok" in done.stdout
    assert "v2-minilm (model): ok" in done.stdout
