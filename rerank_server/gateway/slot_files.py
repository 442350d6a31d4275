"""prometheus_client's multiprocess files: one set per gateway process, summed when they are read.

Written without its metric classes: those take their directory from the environment and their
process from a global, and lock and ask for the pid at every step.
"""

from __future__ import annotations

import bisect
import logging
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, cast

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.utils import floatToGoString

log = logging.getLogger(__name__)

BROKEN = (RuntimeError, ValueError, struct.error, UnicodeDecodeError)
"""What reading a file raises that makes no sense."""

_FIRST_BYTES = 1 << 16  # what prometheus_client gives a file that is empty; it doubles a full one
_MOST_BESIDE_KEY_BYTES = 28  # of one entry: length, padding, value, time

Kind = Literal["counter", "histogram", "gauge_livesum"]


class _File(Protocol):
    """What is used of prometheus_client's memory-mapped files, which carry no types."""

    def read_value(self, key: str) -> tuple[float, float]: ...

    def write_value(self, key: str, value: float, timestamp: float) -> None: ...

    def close(self) -> None: ...


class Series:
    """One number of this process, with its labels; in memory alone while the disk is full."""

    __slots__ = ("_file", "_find", "_key", "_value")

    def __init__(self, find: Callable[[], _File | None], key: str) -> None:
        """Take the number up where it stands in the file found; None: there is no room for it."""
        self._find = find
        self._key = key
        self._value = 0.0
        self._file: _File | None = None
        self._settle()

    def add(self, amount: float = 1.0) -> None:
        """Add to it; a slot's former value goes on."""
        self.set(self._value + amount)

    def set(self, value: float) -> None:
        """Make it `value`."""
        self._value = value
        if self._file is None:
            self._settle()
        if self._file is not None:
            self._file.write_value(self._key, self._value, 0.0)

    def _settle(self) -> None:
        self._file = self._find()
        if self._file is not None:
            self._value += self._file.read_value(self._key)[0]


class SlotFiles:
    """The files of one slot. `prometheus_client` reads them; `Series` write them."""

    def __init__(self, directory: Path, slot: int) -> None:
        self._directory = directory
        self._slot = slot
        self._files: dict[Kind, _File] = {}
        self._full: set[Kind] = set()

    def series(
        self, kind: Kind, metric: str, sample: str, labels: Mapping[str, str], description: str
    ) -> Series:
        """Return the series of a metric's sample with these labels, made if it is not there."""
        key = mmap_key(metric, sample, list(labels), list(labels.values()), description)
        return Series(lambda: self._with_room(kind, key), key)

    def close(self) -> None:
        """Close the files. Idempotent."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _with_room(self, kind: Kind, key: str) -> _File | None:
        path = self._directory / f"{kind}_{self._slot}.db"
        try:
            file = self._files.get(kind)
            if file is None:
                file = self._files[kind] = _open(path)
            _make_room(path, len(key.encode()) + _MOST_BESIDE_KEY_BYTES)
        except OSError as error:
            if kind not in self._full:
                problem = {"file": path.name, "why": error.strerror}
                log.error("new metrics cannot be kept for now", extra=problem)
            self._full.add(kind)
            return None
        self._full.discard(kind)
        return file


class Histogram:
    """A histogram of this process, with its labels."""

    def __init__(
        self,
        files: SlotFiles,
        name: str,
        description: str,
        labels: Mapping[str, str],
        bounds: Sequence[float],
    ) -> None:
        self._bounds = bounds
        self._sum = files.series("histogram", name, f"{name}_sum", labels, description)
        self._buckets: Sequence[Series] = [
            files.series("histogram", name, f"{name}_bucket", {**labels, "le": bound}, description)
            for bound in map(floatToGoString, (*bounds, float("inf")))
        ]

    def observe(self, value: float) -> None:
        """Count a value."""
        self._sum.add(value)
        self._buckets[bisect.bisect_left(self._bounds, value)].add()


def read(directory: Path) -> list[Metric]:
    """Return the metrics of all files there, summed; what makes no sense is left out."""
    files = [str(path) for path in sorted(directory.glob("*.db"))]
    try:
        return merge(files)
    except BROKEN:
        return merge([file for file in files if is_readable(Path(file))])


def merge(files: Sequence[str]) -> list[Metric]:
    """Return the metrics of these files, merged.

    Raises:
        BROKEN: one of them makes no sense.
    """
    merged = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]  # has no types
    return cast(list[Metric], list(merged))


def is_readable(path: Path) -> bool:
    """Tell whether a file makes sense."""
    try:
        merge([str(path)])
    except BROKEN:
        return False
    return True


def _open(path: Path) -> _File:
    """Open a file whose blocks are all there.

    prometheus_client's own are sparse: where the disk is full, the first write to a page of one
    would end the process with SIGBUS.

    Raises:
        OSError: there is no room for it.
    """
    if path.exists() and not is_readable(path):
        log.error("metrics file is broken; starting anew", extra={"file": path.name})
        path.unlink()
    with path.open("ab") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            os.posix_fallocate(file.fileno(), 0, size or _FIRST_BYTES)
        except OSError:
            if size == 0:
                path.unlink()
            raise
    return cast(_File, MmapedDict(str(path)))  # type: ignore[no-untyped-call]  # has no types


def _make_room(path: Path, entry_bytes: int) -> None:
    """Get blocks for one more entry, as `_open` does.

    Raises:
        OSError: there is no room for it.
    """
    with path.open("r+b") as file:
        (used,) = struct.unpack("i", file.read(4))
        size = os.fstat(file.fileno()).st_size
        if used + entry_bytes > size:
            os.posix_fallocate(file.fileno(), 0, 2 * size)
