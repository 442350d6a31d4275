"""Whether a server runs on a run dir, which process it is, and how to signal exactly that one."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rerank_server.errors import AlreadyRunningError, RunDirError
from rerank_server.supervisor.rundir import RunDir, write_whole

SETTLE_S = 1.0  # between taking the lock and writing the pid file a server does nothing else
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Running:
    """The process that runs a server; start time tells it from a later owner of its pid."""

    pid: int
    start_ticks: int
    """Clock ticks from boot to its start, as in /proc/<pid>/stat."""

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to this very process; False when it is gone.

        Raises:
            RunDirError: it belongs to another user.
        """
        with self._opened() as descriptor:
            if descriptor is None:
                return False
            try:
                signal.pidfd_send_signal(descriptor, number)
            except ProcessLookupError:
                return False
            except PermissionError as error:
                raise RunDirError(
                    f"process {self.pid} belongs to another user; run this as that user"
                ) from error
        return True

    def wait(self, timeout_s: float) -> bool:
        """Block until this process has ended, at most so long; tell whether it has."""
        with self._opened() as descriptor:
            if descriptor is None:
                return True
            ended = select.poll()
            ended.register(descriptor, select.POLLIN)
            return bool(ended.poll(max(0.0, timeout_s) * 1000))

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            # Compared after the open: from here on the descriptor cannot change its process.
            yield descriptor if start_ticks(self.pid) == self.start_ticks else None
        finally:
            os.close(descriptor)


class RunLock:
    """A supervisor's hold on its run dir, from `take` until `release` or the process's end."""

    def __init__(self, run: RunDir, descriptor: int, directory: int) -> None:
        self._run = run
        self._descriptor = descriptor
        self._directory = directory

    @classmethod
    def take(cls, run: RunDir, *, settle_s: float = SETTLE_S) -> Self:
        """Take the lock and write the pid file; the run dir must exist.

        Neither descriptor is inherited by a spawned process. What an earlier server left
        (a lock file nobody holds, its pid file) is no obstacle. Blocks for at most `settle_s`.

        Raises:
            AlreadyRunningError: a server holds it; the message names its pid.
        """
        deadline = time.monotonic() + settle_s
        while True:
            descriptor = os.open(run.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _flock(descriptor, fcntl.LOCK_EX) and _is_at(descriptor, run.lock):
                break
            os.close(descriptor)
            running = _named_process(run)
            # Without a living owner the holder is a probe of `who_runs`, or about to say its pid.
            if running is not None or time.monotonic() > deadline:
                raise AlreadyRunningError(_already(run, running))
            time.sleep(_POLL_S)
        # systemd-tmpfiles ages files out of /tmp, but not below a directory that is locked.
        directory = os.open(run.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _flock(directory, fcntl.LOCK_SH)
        pid = os.getpid()
        write_whole(run.pid, f"{pid} {start_ticks(pid)}\n".encode())
        return cls(run, descriptor, directory)

    def release(self) -> None:
        """Remove the pid file and let the lock go; the last thing a server does. Idempotent."""
        if self._descriptor < 0:
            return
        self._run.pid.unlink(missing_ok=True)
        os.close(self._directory)
        os.close(self._descriptor)
        self._descriptor = self._directory = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def is_held(run: RunDir) -> bool:
    """Tell whether a server holds the lock now.

    Raises:
        RunDirError: the run dir is not ours to look into.
    """
    try:
        descriptor = os.open(run.lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise RunDirError(f"{run.lock}: cannot be opened: {error.strerror}") from error
    try:
        # Shared, so that two who ask do not see each other.
        return not _flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def who_runs(run: RunDir, *, settle_s: float = SETTLE_S) -> Running | None:
    """Return the process that holds the run dir's lock, or None when no server runs.

    Blocks for at most `settle_s`, while a server that is just starting says its pid.

    Raises:
        RunDirError: the lock is held, yet its holder cannot be seen from here.
    """
    deadline = time.monotonic() + settle_s
    while is_held(run):
        running = _named_process(run)
        if running is not None:
            return running
        if time.monotonic() > deadline:
            raise RunDirError(
                f"{run.lock} is held, but {run.pid} names no process that can be seen from here; "
                "the server may run in another container"
            )
        time.sleep(_POLL_S)
    return None


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold spaces and parentheses itself: proc_pid_stat(5).
    return int(text.rpartition(b")")[2].split()[19])


def _named_process(run: RunDir) -> Running | None:
    try:
        pid, ticks = (int(word) for word in run.pid.read_text().split())
    except (OSError, ValueError):
        return None
    return Running(pid, ticks) if pid > 0 and start_ticks(pid) == ticks else None


def _already(run: RunDir, running: Running | None) -> str:
    who = f"a server already runs on {run.path}"
    return who if running is None else f"{who} (PID: {running.pid})"


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
