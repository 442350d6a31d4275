"""Shows how far a download is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import TaskID

_LINE_EVERY_S = 5.0
"""How often a log is told about a slow download."""


class Progress(Protocol):
    """Where a long action tells how far it is."""

    def update(self, done_bytes: int, total_bytes: int, label: str) -> None:
        """Say that `done_bytes` of `total_bytes` are there; total 0 means unknown."""

    def note(self, text: str) -> None:
        """Say one line that is not about bytes."""


class Silent:
    """Says nothing."""

    def update(self, done_bytes: int, total_bytes: int, label: str) -> None:
        """Take the news and keep it."""

    def note(self, text: str) -> None:
        """Take the news and keep it."""


class Lines:
    """Plain lines: the start, one every few seconds with the speed, and the end."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._label = ""
        self._started_at = 0.0
        self._said_at = 0.0
        self._is_done = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._out.flush()

    def update(self, done_bytes: int, total_bytes: int, label: str) -> None:
        """Write a line when the label is new, when time has passed, and at the end."""
        now = self._clock()
        is_done = 0 < total_bytes <= done_bytes
        if label != self._label:
            self._label, self._started_at, self._is_done = label, now, False
        elif self._is_done or (not is_done and now - self._said_at < _LINE_EVERY_S):
            return
        self._said_at, self._is_done = now, is_done
        spent_s = now - self._started_at
        speed = f", {megabytes(done_bytes / spent_s)}/s" if spent_s > 0 else ""
        total = f" of {megabytes(total_bytes)}" if total_bytes else ""
        print(f"{label}: {megabytes(done_bytes)}{total}{speed}", file=self._out, flush=True)

    def note(self, text: str) -> None:
        """Write the line."""
        print(text, file=self._out, flush=True)


class Bar:
    """A bar per label with size, speed and time left, drawn by rich."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._tasks: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(file=out),
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def update(self, done_bytes: int, total_bytes: int, label: str) -> None:
        """Move the label's bar."""
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(label, total=total_bytes or None)
        self._progress.update(self._tasks[label], completed=done_bytes, total=total_bytes or None)

    def note(self, text: str) -> None:
        """Write the line above the bars."""
        self._progress.console.print(text, markup=False, highlight=False)


class Shown(Progress, AbstractContextManager[Progress], Protocol):
    """A progress that is drawn while its `with` block runs."""


def shown_on(out: TextIO | None = None) -> Bar | Lines:
    """Choose what fits the stream (default stderr): a bar on a terminal, lines elsewhere."""
    stream = sys.stderr if out is None else out
    return Bar(stream) if stream.isatty() else Lines(stream)


def megabytes(size_bytes: float) -> str:
    """Write a size as people read it: `72.5 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes:.0f} B"
