"""Tools that read the OpenAPI description, against the running server."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.process.server import Server
from tests.sdk.conftest import Run
from tests.sdk.environments import environment

LONGEST_S = 3000
pytestmark = [pytest.mark.process, pytest.mark.env, pytest.mark.timeout(LONGEST_S + 100)]

GENERATOR = ["openapi-python-client==0.29.1"]
SCHEMATHESIS = ["schemathesis==4.32.5"]
SEED = int(os.environ.get("RERANK_SERVER_FUZZ_SEED", "20261122"))
EXAMPLES = os.environ.get("RERANK_SERVER_FUZZ", "15")
"""Requests made up for each operation; more of them where time does not matter."""
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 504]
"""
"""All checks. A deadline of 5e-324 s is a valid one, and has passed by then."""


def test_a_generated_client_scores(server: Server, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "api.json"
    options = ["--version", "v2-m3", "--format", "openapi", "-o", str(file)]
    assert server.cli("export", *options).returncode == 0

    said = run("with_generated", GENERATOR, "", str(file), str(tmp_path))

    assert said["native"] == ["v2-m3", [0.9, 0.899], [0]]
    assert said["cohere"] == said["tei"] == [[0, 0.9], [1, 0.899]]
    assert "query is empty" in said["bad"]


@pytest.mark.parametrize("path", ["", "/rerank/v2-m3"])
def test_schemathesis_finds_no_fault(server: Server, tmp_path: Path, path: str) -> None:
    asked = schemathesis(server, tmp_path, f"{path}/openapi.json")

    print(f"{len(asked)} requests to {path or 'the server'}, seed {SEED}")


def test_schemathesis_finds_no_fault_where_keys_are_needed(short_dir: Path, tmp_path: Path) -> None:
    key = "rrs_of-schemathesis"
    server = Server(short_dir)
    server.environment = {"RERANK_SERVER_API_KEYS": key}
    server.configure("v2-m3", {"v2-m3": {}}, server={"protect": ["/versions", "/metrics"]})
    server.start()
    try:
        asked = schemathesis(
            server, tmp_path, "/openapi.json", "-H", f"Authorization: Bearer {key}"
        )
    finally:
        server.close()

    print(f"{len(asked)} requests with and without a key, seed {SEED}")
    assert 401 in {each["response"]["status_code"] for each in asked}


def schemathesis(server: Server, directory: Path, description: str, *more: str) -> list[Any]:
    """Run all its checks on a description; return every request with its answer."""
    python = environment("schemathesis", SCHEMATHESIS)
    report = directory / "report.json"
    (directory / "schemathesis.toml").write_text(CONFIG)

    done = subprocess.run(
        [
            *(str(python.parent / "schemathesis"), "run", f"{server.url}{description}"),
            *("--url", server.url, "--checks", "all", "--seed", str(SEED)),
            *("--max-examples", EXAMPLES, "--workers", "1", "--request-timeout", "20"),
            *("--report", "ndjson", "--report-ndjson-path", str(report), *more),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1"},
    )

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert "internal_error" not in json.dumps(report.read_text())
    asked = interactions(report)
    for each in asked:
        if each["response"]["status_code"] == 504:
            (sent,) = each["request"]["headers"]["X-Request-Timeout"]
            assert float(sent) < 1, "a deadline passed that gave the time it takes"
    return asked


def interactions(report: Path) -> list[Any]:
    """Return every request of a run, with its answer."""
    events = [json.loads(line) for line in report.read_text().splitlines()]
    recorders = [e["ScenarioFinished"]["recorder"] for e in events if "ScenarioFinished" in e]
    return [each for recorder in recorders for each in recorder.get("interactions", {}).values()]
