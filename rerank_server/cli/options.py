"""What a server is started with, as values and as arguments of `start --foreground`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rerank_server.supervisor.rundir import RunDir, StateDir

_MARK = "--detached"
"""Tells a server this command put in the background from one that somebody else looks after."""


@dataclass(frozen=True, slots=True)
class StartOptions:
    """Where a server keeps its files and what it listens on; paths are absolute."""

    config: Path
    run: RunDir
    state: StateDir
    models_dir: Path | None = None
    host: str | None = None
    port: int | None = None

    def arguments(self) -> list[str]:
        """Return the arguments that start this very server in the foreground."""
        pairs = {
            "--config": self.config,
            "--run-dir": self.run.path,
            "--state-dir": self.state.path,
            "--models-dir": self.models_dir,
            "--host": self.host,
            "--port": self.port,
        }
        given = [(flag, str(value)) for flag, value in pairs.items() if value is not None]
        return ["start", "--foreground", _MARK, *(word for pair in given for word in pair)]

    def command(self) -> list[str]:
        """Return the command that starts this very server in the foreground."""
        return [sys.executable, "-m", "rerank_server", *self.arguments()]


def replay(command: Sequence[str]) -> StartOptions | None:
    """Return the options a server's command line was made from; None if not by `arguments`."""
    if _MARK not in command:
        return None
    words = command[command.index(_MARK) + 1 :]
    given = dict(zip(words[::2], words[1::2], strict=True))
    models_dir, port = given.get("--models-dir"), given.get("--port")
    return StartOptions(
        config=Path(given["--config"]),
        run=RunDir(Path(given["--run-dir"])),
        state=StateDir(Path(given["--state-dir"])),
        models_dir=Path(models_dir) if models_dir is not None else None,
        host=given.get("--host"),
        port=int(port) if port is not None else None,
    )


def flags(command: Sequence[str]) -> Mapping[str, str]:
    """Return the options with a value on a server's command line, however it was started."""
    words = list(command[command.index("start") + 1 :]) if "start" in command else []
    found: dict[str, str] = {}
    while words:
        word = words.pop(0)
        name, has_value, value = word.partition("=")
        if not word.startswith("--"):
            continue
        if has_value:
            found[name] = value
        elif words and not words[0].startswith("--"):
            found[name] = words.pop(0)
    return found
