"""A child process: spawned by exec, watched through a pidfd, ended with its whole group."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rerank_server.core.last_words import last_words

_TAIL_BYTES = 16_384
_DUMP_S = 0.5
"""Time between asking for a stack dump and the KILL."""

ALLOWED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
ALLOWED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "OMP_", "SSL_")


def child_environment(
    environ: Mapping[str, str], own: Sequence[tuple[str, str]] = ()
) -> dict[str, str]:
    """Return the allow-listed part of `environ`, with the version's own variables over it."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in ALLOWED or name.startswith(ALLOWED_PREFIXES)
    }
    return {**kept, **dict(own)}


@dataclass(frozen=True, slots=True)
class Command:
    """How a child is started. Descriptors in `pass_fds` keep their numbers."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    pass_fds: tuple[int, ...]
    log: Path
    """stdout and stderr are appended here."""


class Child:
    """One running child. `exited` is called once, from the event loop, with its exit code."""

    def __init__(
        self, command: Command, loop: asyncio.AbstractEventLoop, exited: Callable[[int], None]
    ) -> None:
        """Spawn it. Must be called from the main thread: PDEATHSIG follows the spawning thread.

        Raises:
            OSError: it could not be executed.
        """
        with command.log.open("ab") as output:
            self._log = command.log
            self._log_start = output.tell()
            self._popen = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=command.cwd,
                env=dict(command.env),
                pass_fds=command.pass_fds,
                start_new_session=True,
            )
        self._loop = loop
        self._exited = exited
        self._pidfd = os.pidfd_open(self._popen.pid)
        self._pending_kill: asyncio.TimerHandle | None = None
        self.was_killed = False
        loop.add_reader(self._pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        """Process id, and id of its process group and session."""
        return self._popen.pid

    def terminate(self) -> None:
        """Send TERM to the process itself; its group is its own business."""
        if self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def kill(self, *, dump: bool) -> None:
        """End the whole process group; with `dump`, its stacks go to the log first."""
        self.was_killed = True
        if self._pidfd < 0:
            return
        if not dump:
            self._kill_group()
            return
        signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)
        signal.pidfd_send_signal(self._pidfd, signal.SIGUSR1)
        if self._pending_kill is None:
            self._pending_kill = self._loop.call_later(_DUMP_S, self._kill_group)

    def tail(self, code: int) -> str:
        """Return what its output tells of an end with this code, in one line; mostly nothing."""
        return last_words(output(self._log, self._log_start), had_time=code != -signal.SIGKILL)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        if self._pending_kill is not None:
            self._pending_kill.cancel()
        # Its helpers may outlive it in the group; while it is not reaped its id is not reused.
        self._kill_group()
        os.close(self._pidfd)
        self._pidfd = -1
        self._exited(self._popen.wait())


def output(log: Path, start: int) -> str:
    """Return the end of a log from the byte `start` on.

    A log that is shorter than `start` was rotated meanwhile: all of it is new.
    """
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(start if start <= end else 0, end - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def describe(code: int, *, is_ours: bool, oom_kills: int, tail: str) -> str:
    """Say in one line how a process ended: by itself, by a signal, by whom; and its last words."""
    if code >= 0:
        text = f"exited with code {code}"
    else:
        name = _signal_name(-code)
        text = f"killed by {name}"
        if -code == signal.SIGKILL and not is_ours:
            text += ", not sent by this server"
            if oom_kills:
                text += f"; the kernel's memory limit struck (oom_kill +{oom_kills})"
    return f"{text}: {tail}" if tail else text


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def oom_kill_count() -> int:
    """Return how often the kernel killed in this process's cgroup for memory; 0 if unknown."""
    try:
        cgroup = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
        text = Path("/sys/fs/cgroup", cgroup, "memory.events").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "oom_kill":
            return int(value)
    return 0
