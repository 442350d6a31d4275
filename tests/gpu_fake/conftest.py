"""A server on cards that are files: the real supervisor and the real pynvml on a fake driver."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import lack
from tests.gpu_fake.cards import FakeCards, compile_driver
from tests.gpu_fake.server import CardServer


@pytest.fixture(scope="session")
def driver() -> Iterator[Path]:
    """Return the directory of the fake driver's library."""
    if shutil.which("gcc") is None:
        lack("no gcc to compile the fake driver")
    folder = Path(tempfile.mkdtemp(prefix="rrs-nvml-"))
    yield compile_driver(folder)
    shutil.rmtree(folder)


@pytest.fixture
def server(short_dir: Path, driver: Path) -> Iterator[CardServer]:
    """Return a server that is not started yet; its cards are to be set first."""
    server = CardServer(short_dir, FakeCards(short_dir / "cards"), driver)
    yield server
    server.close()
