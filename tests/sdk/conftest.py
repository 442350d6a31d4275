"""A server of plain code, and clients that run in environments of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.process.server import Server
from tests.sdk.environments import environment

CLIENTS = Path(__file__).parent / "clients"
SCORES = {"v1": "0.5", "v2-m3": "0.9"}
"""What each version gives the first document; each further one gets 0.001 less."""

Run = Callable[..., Any]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return a running server with two versions, v1 being the default."""
    root = Path(tempfile.mkdtemp(prefix="rrs-", dir="/tmp"))
    server = Server(root)
    server.configure(
        "v1",
        {name: {"env": {"TEST_SCORE": score}} for name, score in SCORES.items()},
        server={"max_docs": 50, "max_doc_chars": 5000},
    )
    server.start()
    yield server
    server.close()
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def run(server: Server) -> Run:
    """Return what runs a client: `run(script, requirements, path below the URL, *arguments)`.

    Scripts with the same requirements may share an environment, by its name.
    """

    def run(
        script: str,
        requirements: Sequence[str],
        path: str = "",
        *arguments: str,
        shared: str | None = None,
    ) -> Any:
        python = environment(shared or script, requirements)
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(
            [str(python), "-I", str(CLIENTS / f"{script}.py"), f"{server.url}{path}", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            env={**os.environ, **quiet},
        )
        assert done.returncode == 0, f"{done.stderr}\n{server.logs()}"
        return json.loads(done.stdout.splitlines()[-1])

    return run
