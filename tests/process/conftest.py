"""The server under test, ended with all its processes after each test; and the places of one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rerank_server.supervisor.janitor import Janitor
from rerank_server.supervisor.rundir import RunDir, StateDir, prepare_run_dir, prepare_state_dir
from rerank_server.supervisor.site import Site
from tests.process.rollout_place import Place
from tests.process.server import Server


@pytest.fixture
def server(short_dir: Path) -> Iterator[Server]:
    """Return a server that is not started yet."""
    server = Server(short_dir)
    yield server
    server.close()


@pytest.fixture
def site(short_dir: Path) -> Iterator[Site]:
    """Return the places of a supervisor without one."""
    run, state = RunDir(short_dir / "run"), StateDir(short_dir / "state")
    prepare_run_dir(run, os.geteuid())
    prepare_state_dir(state)
    with ExitStack() as stack:
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, read_end)
        stack.callback(os.close, write_end)
        janitor = Janitor()
        stack.callback(janitor.close)
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)
        yield Site(run, state, loop, janitor, read_end)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Return the places of a supervisor's rollouts."""
    place = Place(tmp_path)
    yield place
    place.journal.close()
