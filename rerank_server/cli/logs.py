"""The verbs that show what was written down: the logs of a server, and what happened to it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from rerank_server.cli import events as wording
from rerank_server.cli import places
from rerank_server.cli.tail import Tail
from rerank_server.core.snapshot import read
from rerank_server.errors import RunDirError, UsageError
from rerank_server.names import nearest
from rerank_server.supervisor.rundir import RunDir, StateDir, read_json

_POLL_S = 0.2
_FIRST = ("supervisor", "gateway")

FollowOption = Annotated[
    bool, typer.Option("-f", "--follow", help="Go on with what is added, until Ctrl-C.")
]
LinesOption = Annotated[
    int, typer.Option("-n", "--lines", metavar="N", min=0, help="How many of the last lines.")
]


def logs(
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="VERSION", help="A version, supervisor or gateway; default: all of them."
        ),
    ] = None,
    follow: FollowOption = False,
    lines: LinesOption = 50,
    state_dir: places.StateDirOption = None,
    run_dir: places.RunDirOption = None,
) -> int:
    """Show the logs of versions, gateway and supervisor.

    They are kept when the server ends. Rotated by size; older parts lie beside them.
    """
    run = places.run_dir(run_dir)
    shown = Shown(places.state_dir_of(state_dir, run), run, name)
    shown.last(lines)
    while follow:
        time.sleep(_POLL_S)
        shown.more()
    return 0


def events(
    *,
    follow: FollowOption = False,
    lines: LinesOption = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As kept: one JSON object a line.")] = (
        False
    ),
    state_dir: places.StateDirOption = None,
    run_dir: places.RunDirOption = None,
) -> int:
    """Show what happened: each change of state, with its cause."""
    tail = Tail(places.state_dir_of(state_dir, places.run_dir(run_dir)).events)
    text = tail.last(lines)
    while True:
        whole, end, rest = text.rpartition(b"\n")
        if end:
            kept = whole.decode(errors="replace").splitlines()
            print("\n".join(kept if as_json else map(wording.line, kept)), flush=True)
        if not follow:
            return 0
        time.sleep(_POLL_S)
        text = rest + tail.more()


class Shown:
    """The logs of one server, or one of them, written to stdout; several under their names."""

    def __init__(self, state: StateDir, run: RunDir, name: str | None) -> None:
        self._state = state
        self._run = run
        self._name = name
        self._tails: dict[str, Tail] = {}
        self._under: str | None = None
        """The log whose lines were written last."""

    def last(self, lines: int) -> None:
        """Write the last lines of each.

        Raises:
            UsageError: there is no log of that name.
        """
        found = self._found()
        if self._name is not None and self._name not in found:
            raise UsageError(_no_log(self._name, found, self._state.logs, self._run))
        for name in self._chosen(found):
            self._tails[name] = Tail(self._state.log(name))
            self._write(name, self._tails[name].last(lines))

    def more(self) -> None:
        """Write what was added since."""
        for name in self._chosen(self._found()):
            # A version that was added meanwhile has a log from now on.
            tail = self._tails.setdefault(name, Tail(self._state.log(name)))
            self._write(name, tail.more())

    def _found(self) -> list[str]:
        names = sorted(path.stem for path in self._state.logs.glob("*.log"))
        return sorted(names, key=lambda name: name not in _FIRST)

    def _chosen(self, found: list[str]) -> list[str]:
        return found if self._name is None else [self._name]

    def _write(self, name: str, text: bytes) -> None:
        if not text:
            return
        if self._name is None and name != self._under:
            heading = f"==> {name} <==\n" if self._under is None else f"\n==> {name} <==\n"
            text = heading.encode() + text
        self._under = name
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()


def _stages(run: RunDir, name: str) -> list[str]:
    """Return the stages of a cascade, by what the server said last; of no cascade, none."""
    try:
        snapshot = read(read_json(run.state) or {})
    except (RunDirError, ValueError):
        return []
    found = next((version for version in snapshot.versions if version.name == name), None)
    return [] if found is None else [stage.version for stage in found.cascade]


def _no_log(name: str, found: list[str], directory: Path, run: RunDir) -> str:
    if stages := _stages(run, name):
        why = f"no log of {name!r}: it is a cascade and has no process of its own"
        return f"{why}\nhint: name one of its stages: {', '.join(stages)}"
    if not found:
        return f"no logs in {directory}\nhint: name another place with --state-dir"
    near = nearest(name, found)
    hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(found)}"
    return f"no log of {name!r} in {directory}\nhint: {hint}"
