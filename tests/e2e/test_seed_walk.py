"""The requirement's own walk, sections 2 to 4.1, on real weights."""

from __future__ import annotations

import re
import signal
import zipfile
from pathlib import Path

import pytest

from tests.process.server import Server

pytestmark = [pytest.mark.process, pytest.mark.weights]

QUERY = (
    "Which company developed the first commercial jet airliner that entered service in 1952, "
    "and what was its name?"
)
DOCS = [
    "The de Havilland Comet was the world's first commercial jet airliner, entering service "
    "with BOAC in 1952.",
    "Boeing 707 entered service in 1958, developed by Boeing Company.",
    "Concorde was a supersonic transport aircraft, not a commercial jet airliner.",
]


def test_the_walk_from_one_version_to_three_and_back(
    bge_rerankers: Server, gemma_zip: Path
) -> None:
    server = bge_rerankers

    # 2.1  ls -l /opt/bge-rerankers/
    assert {p.name for p in server.root.iterdir() if p.is_dir()} >= {"v2-m3", "v2-gemma", "v1"}

    # 2.2  the shipped config.yaml: v2-m3 and v1 on, v2-gemma off
    server.start("--port", "0")
    assert status(server) == ["v2-m3: RUNNING", "v2-gemma: DISABLED", "v1: RUNNING"]
    pids = {name: server.pid_of(name) for name in ("v2-m3", "v1")}

    # 3.1  unzip bge-reranker-v2-gemma.zip -d /opt/bge-rerankers/v2-gemma/
    zipfile.ZipFile(gemma_zip).extractall(server.root / "v2-gemma")
    assert {"model", "tokenizer", "rerank.py"} <= {
        p.name for p in (server.root / "v2-gemma").iterdir()
    }

    # 3.2  enabled: true, then reload: v2-gemma starts, nothing else moves
    switch(server, "v2-gemma", "false", "true")
    reloaded = server.cli("reload")
    assert reloaded.returncode == 0, reloaded.stderr
    assert status(server) == ["v2-m3: RUNNING", "v2-gemma: RUNNING", "v1: RUNNING"]
    assert {name: server.pid_of(name) for name in pids} == pids

    # 3.3  the same question to both versions: both put the right document first
    for version in ("v2-m3", "v2-gemma"):
        answer = server.client.post(f"/rerank/{version}", json={"query": QUERY, "docs": DOCS})
        assert answer.json()["version"] == version
        assert [r["index"] for r in answer.json()["results"]] == [0, 1, 2]
        assert all(0 <= score <= 1 for score in answer.json()["scores"])

    # 4.1  one header chooses the version, on the common path
    by_header = ask(server, "v2-gemma")
    assert by_header == ("v2-gemma", None)
    # ... and a missing, an unknown or a disabled one silently means the default
    assert ask(server, None) == ("v2-m3", None)
    assert ask(server, "v3-unheard-of") == ("v2-m3", "unknown_version")
    switch(server, "v2-gemma", "true", "false")
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)
    server.wait_version("v2-gemma", "DISABLED")
    assert ask(server, "v2-gemma") == ("v2-m3", "disabled")

    # 4.3  the metrics it names
    metrics = server.client.get("/metrics").text
    assert 'reranker_inference_duration_seconds{quantile="0.95",version="v2-m3"}' in metrics
    assert 'reranker_gpu_memory_used_bytes{version="v2-m3"} 0' in metrics
    assert re.search(r'reranker_fallback_count_total\{.*version="v2-gemma"\} 1', metrics)

    assert server.stop() == 0


def status(server: Server) -> list[str]:
    """Return the status lines without pids, after checking their form."""
    done = server.cli("status")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line in lines:
        assert re.fullmatch(r"\S+: (RUNNING \(PID: \d+, (CPU|GPU: \d+)\)|DISABLED)", line)
    return [line.partition(" (")[0] for line in lines]


def ask(server: Server, version: str | None) -> tuple[str, str | None]:
    """Ask on /rerank; return who answered, and the fallback's reason."""
    headers = {} if version is None else {"X-Rerank-Version": version}
    answer = server.client.post("/rerank", json={"query": QUERY, "docs": DOCS}, headers=headers)
    assert answer.status_code == 200, answer.text
    fallback = answer.json()["fallback"]
    return answer.json()["version"], None if fallback is None else fallback["reason"]


def switch(server: Server, version: str, before: str, after: str) -> None:
    """Change one version's `enabled` in the file, as an editor does."""
    text = server.config_path.read_text()
    pattern = rf"(  {version}:\n    enabled: ){before}"
    changed, count = re.subn(pattern, rf"\g<1>{after}", text)
    assert count == 1
    temporary = server.config_path.with_suffix(".new")
    temporary.write_text(changed)
    temporary.replace(server.config_path)
