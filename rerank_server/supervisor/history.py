"""Every config this machine's servers accepted, by generation: what `rollback` returns to."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from rerank_server.errors import RunDirError
from rerank_server.supervisor.rundir import write_whole

log = logging.getLogger(__name__)

KEPT = 100
"""Older ones are removed."""
_DIGITS = 16


class ConfigHistory:
    """The accepted configs in the state dir, one file a generation; it outlives the server.

    A state dir may have seen servers of several config files, one after the other or at once:
    generations are counted over all of them, but each file has configs of its own.
    """

    def __init__(self, directory: Path, config: Path) -> None:
        self._directory = directory
        self._of = hashlib.sha256(os.fsencode(config)).hexdigest()[:_DIGITS]

    def generations(self) -> tuple[int, ...]:
        """Return the generations of this config file that are kept, oldest first."""
        return self._found(self._of)

    def next_generation(self) -> int:
        """Return the number of the next accepted config: one never given before."""
        return max(self._found("*"), default=0) + 1

    def accept(self, generation: int, text: str) -> None:
        """Keep a config that was just accepted.

        Raises:
            OSError: it cannot be written.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self._path(generation), text.encode())
        for old in self.generations()[:-KEPT]:
            self._path(old).unlink(missing_ok=True)

    def try_accept(self, generation: int, text: str) -> None:
        """Keep a config as `accept` does; a disk that is full is logged, not raised."""
        try:
            self.accept(generation, text)
        except OSError as error:
            problem = {"generation": generation, "why": error.strerror}
            log.error("a config cannot be kept; no rollback returns to it", extra=problem)

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
        is_kept = generation in self.generations()
        current = self.text(generation) if is_kept else None
        earlier = (g for g in reversed(self.generations()) if g < generation)
        return next((g for g in earlier if self.text(g) != current), None)

    def _found(self, of: str) -> tuple[int, ...]:
        numbers = (path.name.split(".")[0] for path in self._directory.glob(f"*.{of}.yaml"))
        return tuple(sorted(int(number) for number in numbers if number.isdecimal()))

    def _path(self, generation: int) -> Path:
        return self._directory / f"{generation:08d}.{self._of}.yaml"
