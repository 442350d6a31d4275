"""prometheus_client's multiprocess files: one set per gateway process, summed when they are read.

Written without its metric classes: those take their directory from the environment and their
process from a global, and lock and ask for the pid at every step.
"""

from __future__ import annotations

import bisect
import logging
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, cast

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.utils import floatToGoString

log = logging.getLogger(__name__)

BROKEN = (RuntimeError, ValueError, struct.error, UnicodeDecodeError)
"""What reading a file raises that makes no sense."""

Kind = Literal["counter", "histogram", "gauge_livesum"]


class _File(Protocol):
    """What is used of prometheus_client's memory-mapped files, which carry no types."""

    def read_value(self, key: str) -> tuple[float, float]: ...

    def write_value(self, key: str, value: float, timestamp: float) -> None: ...

    def close(self) -> None: ...


class Series:
    """One number of this process, with its labels."""

    __slots__ = ("_file", "_key", "_value")

    def __init__(self, file: _File, key: str) -> None:
        self._file = file
        self._key = key
        self._value = file.read_value(key)[0]

    def add(self, amount: float = 1.0) -> None:
        """Add to it; a slot's former value goes on."""
        self.set(self._value + amount)

    def set(self, value: float) -> None:
        """Make it `value`."""
        self._value = value
        self._file.write_value(self._key, value, 0.0)


class SlotFiles:
    """The files of one slot. `prometheus_client` reads them; `Series` write them."""

    def __init__(self, directory: Path, slot: int) -> None:
        self._directory = directory
        self._slot = slot
        self._files: dict[Kind, _File] = {}

    def series(
        self, kind: Kind, metric: str, sample: str, labels: Mapping[str, str], description: str
    ) -> Series:
        """Return the series of a metric's sample with these labels, made if it is not there."""
        key = mmap_key(metric, sample, list(labels), list(labels.values()), description)
        return Series(self._file(kind), key)

    def close(self) -> None:
        """Close the files. Idempotent."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _file(self, kind: Kind) -> _File:
        file = self._files.get(kind)
        if file is None:
            path = self._directory / f"{kind}_{self._slot}.db"
            if path.exists() and not is_readable(path):
                log.error("metrics file is broken; starting anew", extra={"file": path.name})
                path.unlink()
            file = self._files[kind] = _open(path)
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
    return cast(_File, MmapedDict(str(path)))  # type: ignore[no-untyped-call]  # has no types
