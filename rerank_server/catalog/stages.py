"""Shows how far a long action of several stages is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol, Self, TextIO


class Stages(Protocol):
    """Where such an action tells what it does now."""

    def reached(self, stage: str, share: float) -> None:
        """Say which stage begins, and the share of all work done by then, 0..1."""


class Lines:
    """A plain line each time a stage begins."""

    def __init__(self, out: TextIO, label: str) -> None:
        self._out = out
        self._label = label
        self._stage: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._out.flush()

    def reached(self, stage: str, share: float) -> None:
        """Write the line."""
        if stage != self._stage:
            self._stage = stage
            print(f"{self._label}: {stage} ({share:.0%})", file=self._out, flush=True)


class Bar:
    """One bar with the stage and the time that has passed, drawn by rich."""

    def __init__(self, out: TextIO, label: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            Elapsed(),
            console=Console(file=out),
        )
        self._label = label
        self._task = self._progress.add_task(label, total=1.0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._progress.update(self._task, completed=1.0, description=self._label)
        self._progress.stop()

    def reached(self, stage: str, share: float) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=share, description=f"{self._label}: {stage}")


def stages_on(label: str, out: TextIO | None = None) -> Bar | Lines:
    """Choose what fits the stream (default stderr): a bar on a terminal, lines elsewhere."""
    stream = sys.stderr if out is None else out
    return Bar(stream, label) if stream.isatty() else Lines(stream, label)
