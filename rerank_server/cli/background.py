"""Puts a server in the background and follows it until its versions have settled."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import rerank_server
from rerank_server.cli.display import Display
from rerank_server.cli.options import StartOptions
from rerank_server.cli.places import options_of, read_snapshot
from rerank_server.core.snapshot import Snapshot
from rerank_server.errors import (
    AlreadyRunningError,
    ConfigError,
    ListenError,
    NoAnswerError,
    RerankServerError,
)
from rerank_server.supervisor.lock import Running, start_ticks, who_runs
from rerank_server.supervisor.rundir import (
    RunDir,
    check_socket_path,
    prepare_run_dir,
    prepare_state_dir,
)

BOOT_S = 60.0  # from the spawn to the first state.json: an import and a fork, even on a busy disk
_POLL_S = 0.1
_LAST_LINES = 5
_LEAST_FREE_BYTES = 4096  # one block: with less, not even a log's line is written


def check(options: StartOptions) -> None:
    """Refuse what could not be started, before anything is.

    Raises:
        ConfigError: the config is not valid; with every problem.
        AlreadyRunningError: a server runs on this run dir.
        ListenError: its address cannot be bound.
        RunDirError: the run or state dir cannot be used.
    """
    from rerank_server.supervisor.desired import read_config

    config, _ = read_config(options.config)
    for name in config.versions:
        check_socket_path(options.run, name)
    refuse_second(options.run)
    port = config.server.port if options.port is None else options.port
    check_address(options.host or config.server.host, port)
    prepare_run_dir(options.run, os.geteuid())
    prepare_state_dir(options.state)


def refuse_second(run: RunDir) -> None:
    """Refuse a run dir on which a server runs.

    Raises:
        AlreadyRunningError: one does; the message names its pid.
    """
    running = who_runs(run)
    if running is not None:
        raise AlreadyRunningError(
            f"a server already runs on {run.path} (PID: {running.pid}); "
            f"see: rerank-server status{options_of(run)}"
        )


def check_address(host: str, port: int) -> None:
    """Refuse an address that cannot be bound, naming the process that has it if one can be seen.

    Raises:
        ListenError: it is in use, not allowed or not of this host.
    """
    from rerank_server.supervisor.gateway import listen

    try:
        listen(host, port).close()
    except ListenError as error:
        pid = who_listens(port) if "in use" in error.message else None
        if pid is None:
            raise
        raise ListenError(
            f"{host}:{port} is in use by pid {pid}; choose another with --port"
        ) from error


def who_listens(port: int) -> int | None:
    """Return a process that listens on a TCP port, if this user may see it."""
    import psutil

    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    # An address is () for a socket that has none, else (ip, port).
    holders = [c.pid for c in connections if c.status == psutil.CONN_LISTEN and port in c.laddr[1:]]
    # A server's processes all inherit the socket: the oldest is the one to talk about.
    return min(
        (pid for pid in holders if pid is not None),
        key=lambda pid: start_ticks(pid) or math.inf,
        default=None,
    )


class Launch:
    """One server put in the background."""

    def __init__(self, options: StartOptions, command: Sequence[str]) -> None:
        """Spawn the command in a session of its own: no Ctrl-C of this terminal reaches it."""
        self._options = options
        self._log = options.state.log("supervisor")
        self._stale = _content(options.run.state)
        with self._log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # Where `-m rerank_server` finds this very package, installed or not.
                cwd=Path(rerank_server.__file__).parent.parent,
            )
        self.pid = self._process.pid
        self._started_at = time.monotonic()

    def follow(self, display: Display, wait_s: float | None) -> Snapshot:
        """Show the versions loading until all have settled, or so long; return the last picture.

        Raises:
            RerankServerError: the server ended, with its reason; its class has the exit code.
            NoAnswerError: it never published its state.
        """
        process = Running(self.pid, start_ticks(self.pid) or 0)
        while True:
            ended = process.wait(0)
            snapshot = self._published()
            elapsed_s = time.monotonic() - self._started_at
            if ended:
                raise self._failure()
            if snapshot is not None:
                display.show(snapshot, elapsed_s)
                if snapshot.is_settled or (wait_s is not None and elapsed_s >= wait_s):
                    return snapshot
            elif elapsed_s >= BOOT_S:
                raise NoAnswerError(
                    f"the server (PID: {self.pid}) shows no sign of life; see {self._log}"
                )
            process.wait(_POLL_S)

    def _published(self) -> Snapshot | None:
        # A killed server may have left its state, even under the pid that is ours now, and a host
        # that lost its power an empty file: write_whole does not sync.
        if _content(self._options.run.state) in (None, self._stale):
            return None
        return read_snapshot(self._options.run, self.pid)

    def _failure(self) -> RerankServerError:
        code = self._process.wait()
        if code == 0:
            return RerankServerError("the server was told to stop before its versions had settled")
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").strip().splitlines()
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        if code == ConfigError.exit_code and said:
            return ConfigError(said)
        if said:
            return RerankServerError(said[-1])
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        if not lines and shutil.disk_usage(self._log.parent).free < _LEAST_FREE_BYTES:
            return RerankServerError(f"{self._log.parent}: the disk is full; the server {how}")
        last = "".join(f"\n  {line}" for line in lines[-_LAST_LINES:])
        return RerankServerError(f"the server {how} before it served; {self._log} ends:{last}")


def _content(path: Path) -> bytes | None:
    """Return what a file holds, or None when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None
