"""A run dir short enough for Unix sockets, and processes that never outlive their test."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rerank_server.supervisor.rundir import RunDir, prepare_run_dir

Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def short_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="rrs-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def run(short_dir: Path) -> RunDir:
    run = RunDir(short_dir / "run")
    prepare_run_dir(run, short_dir.stat().st_uid)
    return run


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start `python SCRIPT ARGS...` with pipes; what still lives at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(script: Path, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(script), *(str(argument) for argument in arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
