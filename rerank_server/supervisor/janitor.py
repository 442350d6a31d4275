"""A tiny process that outlives a killed supervisor just long enough to kill what it left behind.

PR_SET_PDEATHSIG reaches children, not grandchildren. The janitor holds the list of process
groups and one end of a pipe; when the pipe closes, every group still on the list is killed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

# Runs under `python -I -S`: no site, no imports beyond the built-in ones. A group leader that
# was reaped is taken off the list first, so an id on it is never somebody else's.
_PROGRAM = """
import os, signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups, rest = set(), b""
while True:
    chunk = os.read(0, 4096)
    if not chunk:
        break
    *lines, rest = (rest + chunk).split(b"\\n")
    for line in lines:
        (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Janitor:
    """The supervisor's handle on its janitor process."""

    def __init__(self) -> None:
        """Spawn it, in a session of its own so that no terminal signal reaches it."""
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={},
        )
        assert self._popen.stdin is not None
        self._pipe = self._popen.stdin.fileno()
        os.set_blocking(self._pipe, False)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def watch(self, group: int) -> None:
        """Kill this process group should the supervisor die."""
        self._write(b"+%d\n" % group)

    def release(self, group: int) -> None:
        """Forget a process group: its leader is gone."""
        self._write(b"-%d\n" % group)

    def close(self, timeout_s: float = 5.0) -> None:
        """End it; groups still watched are killed. Blocks until it is gone, by force if need be."""
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.close()
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:  # somebody has stopped it
            self._popen.kill()
            self._popen.wait()

    def _write(self, line: bytes) -> None:
        # A janitor that was itself killed or stopped must not take the server down with it.
        with contextlib.suppress(OSError):
            os.write(self._pipe, line)
