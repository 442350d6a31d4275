"""What processes were seen to take of memory, kept over restarts of the server."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from rerank_server.errors import RunDirError
from rerank_server.supervisor.rundir import read_json, write_json

log = logging.getLogger(__name__)

_SAVE_EVERY_S = 10.0
_MOST = 256
"""Kinds of process remembered; the oldest are forgotten."""


class LearntFile:
    """memory.json of the state dir: bytes by kind of process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: Mapping[str, int] = MappingProxyType({})
        self._tried_at = float("-inf")

    def read(self) -> Mapping[str, int]:
        """Return what was learnt; nothing when the file is missing or of no use."""
        try:
            found = read_json(self._path) or {}
        except RunDirError as error:
            log.warning("learnt memory is forgotten", extra={"problem": error.message})
            found = {}
        sizes = found.get("bytes")
        if isinstance(sizes, dict):
            self._saved = MappingProxyType({k: n for k, n in sizes.items() if isinstance(n, int)})
        return self._saved

    def save(self, learnt: Mapping[str, int], now: float, *, is_last: bool = False) -> None:
        """Write what is new, not more often than every ten seconds except at the end.

        A disk that is full is logged, not raised: it is tried again.
        """
        if learnt == self._saved or (now - self._tried_at < _SAVE_EVERY_S and not is_last):
            return
        self._tried_at = now
        kept = dict(list(learnt.items())[-_MOST:])
        try:
            write_json(self._path, {"schema": 1, "bytes": kept})
        except OSError as error:
            log.error("learnt memory cannot be kept", extra={"why": error.strerror})
        else:
            self._saved = MappingProxyType(dict(learnt))
