"""Runs a server in the foreground: takes the lock, binds the port, then runs the loop."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import logging
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rerank_server.supervisor import activation
from rerank_server.supervisor.desired import Overrides, desire
from rerank_server.supervisor.digests import Digests
from rerank_server.supervisor.history import ConfigHistory
from rerank_server.supervisor.janitor import Janitor
from rerank_server.supervisor.keys import VARIABLE
from rerank_server.supervisor.listeners import Listeners
from rerank_server.supervisor.lock import RunLock
from rerank_server.supervisor.loop import Supervisor
from rerank_server.supervisor.notify import Notices
from rerank_server.supervisor.publisher import Publisher
from rerank_server.supervisor.reloads import Reloads
from rerank_server.supervisor.requests import clear
from rerank_server.supervisor.rundir import (
    RunDir,
    StateDir,
    check_socket_path,
    clear_away,
    prepare_run_dir,
    prepare_state_dir,
)
from rerank_server.supervisor.site import Site
from rerank_server.supervisor.version_files import fingerprint

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `start --foreground` was called with."""

    config_path: Path
    run_dir: Path
    state_dir: Path
    models_dir: Path | None = None
    host: str | None = None
    port: int | None = None


def run(options: ServeOptions) -> int:
    """Serve until told to stop; return the exit code. Blocks; main thread only.

    Raises:
        ConfigError: the config is not valid.
        AlreadyRunningError: a server holds the run dir.
        ListenError: the address cannot be bound.
        RunDirError: the run or state dir cannot be used.
    """
    early = _Early()
    service = Notices.take(os.environ, os.getpid())
    inherited = activation.take(os.environ, os.getpid())
    faulthandler.enable()  # a watchdog ends a process that hangs with SIGABRT: it says where
    run_dir, state_dir = RunDir(options.run_dir), StateDir(options.state_dir)
    api_keys = os.environ.pop(VARIABLE, None)
    overrides = Overrides(options.models_dir, options.host, options.port, api_keys)
    history = ConfigHistory(state_dir.configs, options.config_path)
    desired = desire(options.config_path, overrides, history.next_generation())
    for name in desired.wanted.versions:
        check_socket_path(run_dir, name)
    prepare_run_dir(run_dir, os.geteuid())
    prepare_state_dir(state_dir)
    with RunLock.take(run_dir), contextlib.ExitStack() as stack:
        stack.callback(service.close)
        _sweep(run_dir)
        _raise_descriptor_limit()
        listeners = Listeners(inherited)
        stack.callback(listeners.close)
        listeners.open(desired.front)
        lifeline = stack.enter_context(_lifeline())
        janitor = Janitor()
        stack.callback(janitor.close)
        loop = stack.enter_context(_event_loop())
        site = Site(run_dir, state_dir, loop, janitor, lifeline)
        history.accept(desired.wanted.generation, desired.text)
        reloads = Reloads(run_dir, options.config_path, overrides, history)
        digests = Digests(state_dir.digests, fingerprint)
        stack.callback(digests.close)
        publisher = Publisher(run_dir, options.config_path, listeners, service, digests)
        supervisor = Supervisor(site, desired, reloads, listeners, publisher)
        _hear_signals(loop, supervisor, early)
        gc.collect()
        gc.freeze()
        loop.run_until_complete(supervisor.run())
        _sweep(run_dir)
    return 0


class _Early:
    """Hears a bell that rings before the loop can: unheard, SIGHUP would end the process."""

    def __init__(self) -> None:
        self.rang = False
        signal.signal(signal.SIGHUP, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.rang = True


def _hear_signals(loop: asyncio.AbstractEventLoop, supervisor: Supervisor, early: _Early) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop, signal.Signals(number).name)
    loop.add_signal_handler(signal.SIGHUP, supervisor.hear)
    if early.rang:
        loop.call_soon(supervisor.hear)


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
    """Hold a pipe whose read end, given to children, ends with this process."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        yield read_end
    finally:
        os.close(read_end)
        os.close(write_end)


@contextlib.contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        loop.close()


def _sweep(run_dir: RunDir) -> None:
    """Remove what an earlier server on this run dir left; the lock is ours."""
    clear(run_dir)
    for path in (run_dir.routes, run_dir.state):
        clear_away(path)
    for directory in (run_dir.sockets, run_dir.metrics, run_dir.gateway):
        for path in directory.iterdir():
            clear_away(path)


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
