"""A run dir short enough for Unix sockets, and servers that never outlive their test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from rerank_server.cli.options import StartOptions
from rerank_server.supervisor.lock import Running, who_runs
from rerank_server.supervisor.rundir import RunDir, StateDir, prepare_run_dir

Spawn = Callable[..., "subprocess.Popen[str]"]

HERE = Path(__file__).parent
CONFIG = """\
default_version: v2-m3
versions:
  v2-m3: {}
  v1: {}
  v2-gemma: {enabled: false}
server: {port: 0}
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command said and how it ended."""

    code: int
    out: list[str]
    err: list[str]


@dataclass(frozen=True, slots=True)
class Fake:
    """A fake server's place, its orders, and the commands that concern it."""

    options: StartOptions
    orders: int

    def tell(self, **order: object) -> None:
        """Write one order; read when the fake server gets to it."""
        os.write(self.orders, json.dumps(order).encode() + b"\n")

    def start_command(self, wait: str = "-", verb: str = "start") -> list[str]:
        """Return the command that starts this fake as `rerank-server start` starts a server."""
        script = str(HERE / "start_fake.py")
        return [sys.executable, script, verb, wait, *self.options.arguments()]

    def start(self, wait: str = "-", verb: str = "start") -> Done:
        """Start the fake in the background."""
        return finished(self.start_command(wait, verb))

    def command(self, *arguments: str) -> Done:
        """Run a verb of the real command line on the fake's run dir."""
        return finished(program(*arguments, "--run-dir", str(self.options.run.path)))

    def running(self) -> Running | None:
        """Return the fake server that runs."""
        return who_runs(self.options.run)

    def pid(self) -> int:
        """Return the pid of the fake server that runs."""
        running = self.running()
        assert running is not None
        return running.pid


def program(*arguments: str) -> list[str]:
    """Return the command line of a verb."""
    return [sys.executable, "-m", "rerank_server", *arguments]


def finished(
    command: list[str], environ: Mapping[str, str] | None = None, *, timeout_s: float = 60
) -> Done:
    """Run a command to its end, with these variables over the test's own."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        env={**os.environ, "COLUMNS": "100", **(environ or {})},
        stdin=subprocess.DEVNULL,
    )
    return Done(done.returncode, done.stdout.splitlines(), done.stderr.splitlines())


def started(fake: Fake, picture: dict[str, object]) -> None:
    """Start the fake; it has published this state."""
    picture["time"] = time.time()
    fake.tell(state=picture)
    assert fake.start(wait="0").code in (0, 1)


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
def fake(short_dir: Path) -> Iterator[Fake]:
    """A place for one fake server; what runs there at the end is killed."""
    config = short_dir / "config.yaml"
    config.write_text(CONFIG)
    os.mkfifo(short_dir / "orders")
    orders = os.open(short_dir / "orders", os.O_RDWR)
    options = StartOptions(config, RunDir(short_dir / "run"), StateDir(short_dir / "state"))
    fake = Fake(options, orders)
    yield fake
    running = fake.running()
    if running is not None:
        running.signal(signal.SIGKILL)
        assert running.wait(10)
    os.close(orders)


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
