"""Numbered places for the gateway processes' metrics files, so that files outlive processes."""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Slots:
    """The slots in one directory.

    A process claims the lowest free number and writes its counters to that number's files, so a
    replaced process goes on where the one before stopped: counters never fall and there are no
    more files than processes ever ran at once. A slot is held by a lock on its own file, which
    the kernel drops when the process ends, however it ends.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._held: int | None = None

    def claim(self) -> int:
        """Hold a slot until this process ends, and return its number. Call once, after fork."""
        with self._claims():
            for number in itertools.count():
                fd = self._open(number)
                if _try_lock(fd):
                    self._held = fd  # open, so locked, until the process ends
                    return number
                os.close(fd)
        raise AssertionError("unreachable: some slot is free")

    def release(self) -> None:
        """Let go of the slot. Idempotent."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def abandoned(self) -> list[int]:
        """Return the slots that no process holds."""
        free = []
        with self._claims():
            for path in self._directory.glob("slot-*.lock"):
                number = int(path.stem.partition("-")[2])
                fd = self._open(number)
                try:
                    if _try_lock(fd):
                        free.append(number)
                finally:
                    os.close(fd)
        return sorted(free)

    def _open(self, number: int) -> int:
        path = self._directory / f"slot-{number}.lock"
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def _claims(self) -> Iterator[None]:
        """Keep others from taking a slot that is only being looked at."""
        fd = os.open(self._directory / "claims.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
