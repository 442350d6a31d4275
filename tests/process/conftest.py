"""The server under test, ended with all its processes after each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.server import Server


@pytest.fixture
def server(short_dir: Path) -> Iterator[Server]:
    """Return a server that is not started yet."""
    server = Server(short_dir)
    yield server
    server.close()
