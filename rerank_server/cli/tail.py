"""Reads a log that grows and is rotated: its last lines, then what is added."""

from __future__ import annotations

import os
from pathlib import Path

from rerank_server.supervisor.rotation import part_of

_BLOCK_BYTES = 64 << 10


class Tail:
    """One log file. It may be rotated, emptied, replaced or gone at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self._inode: int | None = None

    def last(self, lines: int) -> bytes:
        """Return the last lines, those of the part rotated last included if need be.

        What is added later comes by `more`.
        """
        text = self.more(lines)
        missing = lines - text.count(b"\n")
        if missing > 0:
            text = Tail(part_of(self.path, 1)).more(missing) + text
        return text

    def more(self, most_lines: int | None = None) -> bytes:
        """Return what was added since the last call, or only its last lines."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return b""
        with file:
            found = os.fstat(file.fileno())
            rest = b""
            is_other = self._inode not in (None, found.st_ino)
            if is_other or found.st_size < self._position:
                rest = self._rest_of_older()
                self._position = 0
            self._inode = found.st_ino
            start = self._position
            if most_lines is not None:
                start = max(start, _start_of_last(file.fileno(), found.st_size, most_lines))
            self._position = found.st_size
            return rest + os.pread(file.fileno(), found.st_size - start, start)

    def _rest_of_older(self) -> bytes:
        """Return what was written between the last look and the rotation."""
        try:
            with part_of(self.path, 1).open("rb") as file:
                file.seek(self._position)
                return file.read()
        except FileNotFoundError:
            return b""


def _start_of_last(descriptor: int, end: int, lines: int) -> int:
    """Return where the last lines of a file begin; a last line may lack its end."""
    if lines == 0 or end == 0:
        return end
    # The line end that closes the last line separates nothing.
    missing = lines + (os.pread(descriptor, 1, end - 1) == b"\n")
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        block = os.pread(descriptor, end - start, start)
        found = block.count(b"\n")
        if found >= missing:
            cut = len(block)
            for _ in range(missing):
                cut = block.rindex(b"\n", 0, cut)
            return start + cut + 1
        missing -= found
        end = start
    return 0
