"""Remembers which requests were in flight when a worker died, so that none kills a third."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from rerank_server.gateway.watched import WatchedFile

log = logging.getLogger(__name__)

QUARANTINE_S = 600.0
DEATHS_TO_REFUSE = 2
_MAX_ENTRIES = 1024  # oldest are dropped: some 60 kB of file


@dataclass(frozen=True, slots=True)
class Entry:
    """The workers that died with one request in flight; none once that request was scored."""

    workers: tuple[str, ...]
    expires: float
    """Monotonic clock, seconds."""


def digest_of(payload: bytes) -> str:
    """Return the name under which a request's text is remembered."""
    return hashlib.blake2b(payload, digest_size=16).hexdigest()


class LossLedger:
    """The deaths on record, shared by all gateway processes through one small file.

    Counted are distinct worker processes, not losses: when one worker is killed with the same
    text in flight ten times, that is one death.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = directory / "losses.json"
        self._lock_path = directory / "losses.lock"
        self._clock = clock
        self._file = WatchedFile(self._path)
        self._entries: Mapping[str, Entry] = {}
        self._has_deaths = False
        with self._locked():
            if not self._path.exists():  # from now on there is a file to keep open
                self._write({})

    def is_empty(self) -> bool:
        """Tell whether no death is on record, so that no digest need be made. Cheap."""
        self._refresh()
        return not self._has_deaths

    def has_seen(self, payload: bytes) -> bool:
        """Tell whether a worker died with this request in the last ten minutes, cleared or not."""
        self._refresh()
        return bool(self._entries) and self._entry(digest_of(payload)) is not None

    def deaths(self, digest: str) -> int:
        """Return how many workers died with this request in flight, in the last ten minutes."""
        self._refresh()
        entry = self._entry(digest)
        return 0 if entry is None else len(entry.workers)

    def record(self, digest: str, worker: str) -> int:
        """Note that a worker died with this request in flight; return how many did by now."""
        with self._locked():
            entries = self._read_current()
            known = entries.pop(digest, Entry((), 0.0)).workers
            workers = known if worker in known else (*known, worker)
            entries[digest] = Entry(workers, self._clock() + QUARANTINE_S)
            self._write(dict(list(entries.items())[-_MAX_ENTRIES:]))
        return len(workers)

    def clear(self, digest: str) -> None:
        """Forget a request's deaths: it was scored, so it was not what killed a worker.

        Perhaps by another version than the one that died: it is still known to `has_seen`.
        """
        with self._locked():
            entries = self._read_current()
            known = entries.get(digest)
            if known is not None and known.workers:
                entries[digest] = Entry((), known.expires)
                self._write(entries)

    def _entry(self, digest: str) -> Entry | None:
        entry = self._entries.get(digest)
        if entry is None or not 0 < entry.expires - self._clock() <= QUARANTINE_S:
            return None
        return entry

    def _refresh(self) -> None:
        content = self._file.poll()
        if content is not None:
            self._hold(_parse(content))

    def _hold(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._has_deaths = any(entry.workers for entry in entries.values())

    def _read_current(self) -> dict[str, Entry]:
        """Return what is on record and not yet expired; oldest first."""
        self._refresh()
        now = self._clock()
        return {k: e for k, e in self._entries.items() if 0 < e.expires - now <= QUARANTINE_S}

    def _write(self, entries: Mapping[str, Entry]) -> None:
        """Tell the others; a disk that is full must not cost a request its answer."""
        self._hold(entries)
        temporary = self._path.with_suffix(".tmp")  # one name will do: the lock is held
        content = {digest: [e.expires, *e.workers] for digest, e in entries.items()}
        try:
            temporary.write_bytes(orjson.dumps(content))
            temporary.rename(self._path)
        except OSError as error:
            problem = {"why": error.strerror}
            log.error("deaths cannot be written; only this process knows of them", extra=problem)
        else:
            self._file.poll()  # nothing new to this process

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # held for a fraction of a millisecond
            yield
        finally:
            os.close(fd)


def _parse(content: bytes) -> dict[str, Entry]:
    try:
        parsed = orjson.loads(content)
        return {
            str(digest): Entry(tuple(map(str, workers)), float(expires))
            for digest, (expires, *workers) in parsed.items()
        }
    except (ValueError, TypeError, AttributeError):
        log.error("losses file is broken; starting with an empty one")
        return {}
