"""A server to be watched, and Prometheus' own tools."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import lack
from tests.process.server import Server


@pytest.fixture
def server(short_dir: Path) -> Iterator[Server]:
    """Return a server that is not started yet."""
    server = Server(short_dir)
    yield server
    server.close()


@pytest.fixture(scope="session")
def promtool() -> str:
    """Return the command that checks rules."""
    return shutil.which("promtool") or lack("no promtool; on Debian: apt-get install prometheus")


@pytest.fixture(scope="session")
def prometheus() -> str:
    """Return the command of the monitoring server."""
    return shutil.which("prometheus") or lack(
        "no prometheus; on Debian: apt-get install prometheus"
    )
