"""Version directories and worker processes for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.workers.worker_process import WorkerProcess

SCRIPTED = Path(__file__).with_name("scripted_version.py")

Spawn = Callable[..., WorkerProcess]


@pytest.fixture
def spawn(short_dir: Path) -> Iterator[Spawn]:
    """Start a worker whose rerank.py has this text; without one, the scripted version."""
    workers: list[WorkerProcess] = []

    def spawn_one(
        source: str | None = None, environment: Mapping[str, str] | None = None
    ) -> WorkerProcess:
        directory = short_dir / "v1"
        directory.mkdir()
        text = SCRIPTED.read_text() if source is None else source
        (directory / "rerank.py").write_text(text)
        for fifo in ("arrived", "gate"):
            os.mkfifo(directory / fifo)
        worker = WorkerProcess.spawn(directory, short_dir, environment)
        workers.append(worker)
        return worker

    yield spawn_one
    for worker in workers:
        worker.close()
