"""Keeps the logs of running processes small: copies a grown one aside, then empties it."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from rerank_server.supervisor.rundir import StateDir

log = logging.getLogger(__name__)

LIMIT_BYTES = 16 << 20
KEPT = 3
"""How many older parts of each log stay: NAME.1 is the youngest."""

_EVERY_S = 1.0
_AFTER_FAILURE_S = 60.0


class Rotation:
    """Looks after all logs in one state dir."""

    def __init__(self, state: StateDir, limit_bytes: int = LIMIT_BYTES) -> None:
        self._state = state
        self._limit_bytes = limit_bytes
        self._next_at = float("-inf")

    def run(self, now: float) -> None:
        """Rotate what has grown too large; at most once a second. `now` is monotonic."""
        if now < self._next_at:
            return
        self._next_at = now + _EVERY_S
        for path in (self._state.events, *self._state.logs.glob("*.log")):
            try:
                if rotate(path, self._limit_bytes):
                    log.info("log rotated", extra={"file": str(path)})
            except OSError as error:
                self._next_at = now + _AFTER_FAILURE_S
                log.error("log cannot be rotated", extra={"file": str(path), "why": error.strerror})


def rotate(path: Path, limit_bytes: int = LIMIT_BYTES) -> bool:
    """Move what a log holds to NAME.1 if that is more than the limit; tell whether it was.

    The file itself stays, so a process that appends to it (O_APPEND) need not know. What it writes
    in the instant between copy and cut is lost. Of a log over twice the limit only the end is
    copied, so that this blocks for milliseconds even if a process writes without end. A copy that
    fails, on a full disk, does not hinder the cut.

    Raises:
        OSError: the file cannot be emptied, or older parts cannot be moved.
    """
    try:
        if path.stat().st_size <= limit_bytes:
            return False
    except FileNotFoundError:
        return False
    for number in range(KEPT - 1, 0, -1):
        part = part_of(path, number)
        if part.exists():
            part.replace(part_of(path, number + 1))
    youngest = part_of(path, 1)
    try:
        _copy_end(path, youngest, 2 * limit_bytes)
    except OSError as error:
        youngest.unlink(missing_ok=True)
        log.error("old log lines are lost", extra={"file": str(path), "why": error.strerror})
    os.truncate(path, 0)
    return True


def part_of(path: Path, number: int) -> Path:
    """Return where the older parts of a log are; 1 is the youngest."""
    return path.with_name(f"{path.name}.{number}")


def _copy_end(path: Path, target: Path, most_bytes: int) -> None:
    with path.open("rb") as source, target.open("wb") as copy:
        end = source.seek(0, os.SEEK_END)
        source.seek(max(0, end - most_bytes))
        shutil.copyfileobj(source, copy, 1 << 20)
