"""A server on real cards; skipped, visibly, where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.server import Server


@pytest.fixture(scope="session")
def cuda() -> None:
    """Skip what needs a card on a host without one."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")


@pytest.fixture
def server(cuda: None, short_dir: Path, demo_models: Path) -> Iterator[Server]:
    """Return a server of the demo versions that is not started yet."""
    server = Server(short_dir)
    server.models_dir = demo_models
    yield server
    server.close()
