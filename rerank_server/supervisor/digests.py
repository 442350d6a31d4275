"""Reads the files of served versions, in a thread of its own, and knows their SHA-256.

Weights are gigabytes, so nothing waits for this, and no file is read twice while its size and
modification time stay: what is known is kept in the state dir.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rerank_server.errors import RunDirError
from rerank_server.supervisor.rundir import read_json, write_json

log = logging.getLogger(__name__)

Files = tuple[str, str]
"""A version directory, and the fingerprint of what is in it."""

_CHUNK_BYTES = 1 << 20
_NICE = 19  # of the thread alone: the kernel gives it what nobody else wants


class Digests:
    """The digests of version directories. All methods belong to the loop's thread, save `_run`."""

    def __init__(self, path: Path, fingerprint_of: Callable[[Path], str]) -> None:
        self._path = path
        self._fingerprint_of = fingerprint_of
        self._asked: set[Files] = set()
        self._known: dict[Files, str] = {}  # written by the thread alone
        self._queue: queue.SimpleQueue[Files | None] = queue.SimpleQueue()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def known(self) -> Mapping[Files, str]:
        """What is known by now: SHA-256 in hexadecimal."""
        return self._known

    def ask(self, files: Files) -> None:
        """Have the digest of these files found out, once. Returns at once."""
        if files in self._asked or self._end.is_set():
            return
        self._asked.add(files)
        self._queue.put(files)
        if self._thread is None:
            # A daemon: a file system that hangs must not keep the server from ending.
            self._thread = threading.Thread(target=self._run, name="digests", daemon=True)
            self._thread.start()

    def close(self, timeout_s: float = 1.0) -> None:
        """Read no further."""
        self._end.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)

    # --- in the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        cache = _Cache(self._path)
        while (files := self._queue.get()) is not None and not self._end.is_set():
            directory = Path(files[0])
            try:
                digest = digest_of(directory, cache, self._end)
                if digest is not None and self._fingerprint_of(directory) == files[1]:
                    self._known[files] = digest
                    cache.save()
            except Exception as error:  # of a file system: what is not known stays unknown
                extra = {"directory": files[0], "error": f"{type(error).__name__}: {error}"}
                log.warning("a version's files could not be digested", extra=extra)


class _Cache:
    """digests.json of the state dir: what each file's content was, by size and time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: dict[str, dict[str, object]] = {}
        self._is_changed = False
        try:
            found = (read_json(path) or {}).get("files")
        except RunDirError as error:
            log.warning("digests are found out anew", extra={"problem": error.message})
            found = None
        if isinstance(found, dict):
            self._files = {k: entry for k, entry in found.items() if isinstance(entry, dict)}

    def get(self, path: str, found: os.stat_result) -> str | None:
        entry = self._files.get(path, {})
        is_same = (entry.get("size"), entry.get("mtime_ns")) == (found.st_size, found.st_mtime_ns)
        digest = entry.get("sha256")
        return digest if is_same and isinstance(digest, str) else None

    def put(self, path: str, found: os.stat_result, digest: str) -> None:
        entry = {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": digest}
        self._files[path], self._is_changed = entry, True

    def save(self) -> None:
        """Write what is new, without the files that are gone."""
        if self._is_changed:
            self._files = {path: e for path, e in self._files.items() if Path(path).exists()}
            write_json(self._path, {"schema": 1, "files": self._files})
            self._is_changed = False


def digest_of(directory: Path, cache: _Cache, end: threading.Event) -> str | None:
    """Return the SHA-256 of what `sha256sum` says of a version's files, sorted by name.

    Hidden files, the version's environment among them, and compiled Python are left out.

    None: told to end, or a file changed meanwhile.

    Raises:
        OSError: a file cannot be read.
    """
    whole = hashlib.sha256()
    for name in sorted(_names(directory, ""), key=os.fsencode):
        path = directory / name
        before = path.stat()
        digest = cache.get(str(path), before)
        if digest is None:
            digest = _read(path, end)
            after = path.stat()
            is_same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
            if digest is None or not is_same:
                return None
            cache.put(str(path), before, digest)
        whole.update(f"{digest}  ".encode() + os.fsencode(name) + b"\n")
    return whole.hexdigest()


def _names(directory: Path, prefix: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name == "__pycache__" or entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _names(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield prefix + entry.name


def _read(path: Path, end: threading.Event) -> str | None:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while (count := file.readinto(buffer)) and not end.is_set():
            digest.update(buffer[:count])
    return None if end.is_set() else digest.hexdigest()
