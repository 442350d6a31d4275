"""What every test may use: strictness, short directories, free ports, the demo weights."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent
STRICT = os.environ.get("RERANK_SERVER_TESTS_STRICT") == "1"
"""Under CI a missing tool or missing weights are failures, not skips."""


def lack(what: str) -> NoReturn:
    """Skip the test for want of something; under CI, fail it."""
    if STRICT:
        pytest.fail(f"{what} (and nothing may be missing under RERANK_SERVER_TESTS_STRICT)")
    pytest.skip(what)


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """Return a temporary directory whose path is short enough for Unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="rrs-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def free_port() -> int:
    """Return a loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def demo_models() -> Path:
    """Return the models directory with the three demo versions in it."""
    models = ROOT / "models"
    for name in ("v1-bge-small", "v1-colbert", "v2-minilm"):
        if not (models / name / "rerank.py").is_file():
            lack(f"no weights of {name}; run: make models")
    return models
