"""Every config this machine's servers accepted, by generation: what `rollback` returns to."""

from __future__ import annotations

from pathlib import Path

from rerank_server.errors import RunDirError
from rerank_server.supervisor.rundir import write_whole

KEPT = 100
"""Older ones are removed."""


class ConfigHistory:
    """The accepted configs in the state dir, one file a generation; it outlives the server."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def generations(self) -> tuple[int, ...]:
        """Return the generations that are kept, oldest first."""
        found = (path.stem for path in self._directory.glob("*.yaml"))
        return tuple(sorted(int(stem) for stem in found if stem.isdigit()))

    def next_generation(self) -> int:
        """Return the number of the next accepted config: one never given before."""
        return max(self.generations(), default=0) + 1

    def accept(self, generation: int, text: str) -> None:
        """Keep a config that was just accepted."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self._path(generation), text.encode())
        for old in self.generations()[:-KEPT]:
            self._path(old).unlink(missing_ok=True)

    def text(self, generation: int) -> str:
        """Return the config of that generation.

        Raises:
            RunDirError: it is not kept (any more); the message names those that are.
        """
        try:
            return self._path(generation).read_text(encoding="utf-8")
        except FileNotFoundError:
            kept = self.generations()
            there = f"there are {kept[0]} to {kept[-1]}" if kept else "none is kept"
            raise RunDirError(f"no config of generation {generation}; {there}") from None

    def before(self, generation: int) -> int | None:
        """Return the newest generation before this one whose config reads differently."""
        current = self.text(generation)
        earlier = (g for g in reversed(self.generations()) if g < generation)
        return next((g for g in earlier if self.text(g) != current), None)

    def _path(self, generation: int) -> Path:
        return self._directory / f"{generation:08d}.yaml"
