"""A small file that others replace by rename, read again exactly when it was replaced."""

from __future__ import annotations

import os
from pathlib import Path


class WatchedFile:
    """Keeps a file open; its link count falls to 0 when a rename takes its place.

    The check is exact and costs a microsecond; a modification time can miss a quick second
    change. While the file is missing, the last content stays and each poll looks for a new one.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._fd: int | None = None

    def poll(self) -> bytes | None:
        """Return the content if it is new since the last poll, else None."""
        if self._fd is not None and os.fstat(self._fd).st_nlink:
            return None
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            content = _read_all(fd)
        except OSError:
            os.close(fd)
            return None
        self.close()
        self._fd = fd
        return content

    def close(self) -> None:
        """Let go of the file; the next poll reads it anew. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __del__(self) -> None:
        """Leave no descriptor behind."""
        self.close()


def _read_all(fd: int) -> bytes:
    parts: list[bytes] = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)
