"""Tools that read the OpenAPI description, against the running server."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.process.server import Server
from tests.sdk.conftest import Run
from tests.sdk.environments import environment

pytestmark = [pytest.mark.process, pytest.mark.env, pytest.mark.timeout(900)]

GENERATOR = ["openapi-python-client==0.29.1"]
SCHEMATHESIS = ["schemathesis==4.32.5"]
SEED = 20261122


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
    python = environment("schemathesis", SCHEMATHESIS)
    report = tmp_path / "report.json"

    done = subprocess.run(
        [
            *(str(python.parent / "schemathesis"), "run", f"{server.url}{path}/openapi.json"),
            *("--url", server.url, "--checks", "all", "--seed", str(SEED)),
            *("--max-examples", "15", "--workers", "1", "--request-timeout", "20"),
            *("--report", "ndjson", "--report-ndjson-path", str(report)),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1"},
    )

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert "internal_error" not in json.dumps(report.read_text())
