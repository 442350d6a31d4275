"""Shows versions loading: lines redrawn in place on a terminal, a line a change elsewhere."""

from __future__ import annotations

import os
from typing import Protocol, TextIO

from rerank_server.cli.table import cut
from rerank_server.core.snapshot import Snapshot, VersionView
from rerank_server.core.status import line

_UP = "\x1b[{}A"  # ECMA-48 CUU, EL and ED: every terminal since the VT100 has them
_CLEAR_LINE = "\x1b[2K"
_CLEAR_BELOW = "\x1b[J"
_USUAL_COLUMNS = 80  # for a terminal that does not know: a serial line says 0


class Display(Protocol):
    """Shows one picture after the other."""

    def show(self, snapshot: Snapshot, elapsed_s: float) -> None:
        """Show the server as it is so long after its start."""


class _Settled:
    """Remembers when each version's start came to its end."""

    def __init__(self) -> None:
        self._after_s: dict[str, float] = {}

    def line(self, version: VersionView, elapsed_s: float) -> str:
        """Return the version's status line, with how long it took once it runs."""
        if version.state != "RUNNING":
            self._after_s.pop(version.name, None)
            return line(version)
        after_s = self._after_s.setdefault(version.name, elapsed_s)
        return f"{line(version)} after {after_s:.1f} s"


class Terminal:
    """One line a version, redrawn in place."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._settled = _Settled()
        self._drawn: list[str] = []

    def show(self, snapshot: Snapshot, elapsed_s: float) -> None:
        """Redraw, if anything changed."""
        columns = os.get_terminal_size(self._out.fileno()).columns or _USUAL_COLUMNS
        lines = [
            # A line that wraps would break the count of lines to go up.
            cut(self._settled.line(version, elapsed_s), columns - 1)
            for version in snapshot.versions
        ]
        if lines == self._drawn:
            return
        up = _UP.format(len(self._drawn)) if self._drawn else ""
        text = "".join(f"{_CLEAR_LINE}{line}\n" for line in lines)
        self._out.write(f"{up}\r{text}{_CLEAR_BELOW}")
        self._out.flush()
        self._drawn = lines


class Lines:
    """A plain line each time a version's state or process changes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._settled = _Settled()
        self._said: dict[str, tuple[str, int | None]] = {}

    def show(self, snapshot: Snapshot, elapsed_s: float) -> None:
        """Write the lines of what changed."""
        for version in snapshot.versions:
            shown = version.shown
            now = (version.state, shown.pid if shown is not None else None)
            if self._said.get(version.name) != now:
                self._said[version.name] = now
                print(self._settled.line(version, elapsed_s), file=self._out, flush=True)


def display_on(out: TextIO) -> Display:
    """Choose what fits the stream."""
    return Terminal(out) if out.isatty() else Lines(out)
