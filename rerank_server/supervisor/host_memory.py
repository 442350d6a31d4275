"""How much main memory a new process could take: the host's, within this cgroup's limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def free_bytes(root: Path) -> int | None:
    """Return the memory that could be taken without swapping; None when nothing tells.

    `root` is the directory that `proc` and `sys` lie in.
    """
    found = [*_available(root / "proc/meminfo")]
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            for folder in _folders(root / "sys/fs/cgroup", path):
                found += _left(folder, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            for folder in _folders(root / "sys/fs/cgroup/memory", path):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
                found += _left(folder, *names, "total_inactive_file")
    return min(found, default=None)


def _available(meminfo: Path) -> Iterator[int]:
    for line in _text(meminfo).splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _left(folder: Path, limit: str, usage: str, inactive: str) -> Iterator[int]:
    """Yield what a cgroup's limit leaves; file pages that nobody uses are given up for it."""
    most, used = _text(folder / limit).strip(), _text(folder / usage).strip()
    if most.isdecimal() and used.isdecimal():
        fields = (line.split() for line in _text(folder / "memory.stat").splitlines())
        given_up = next((int(words[1]) for words in fields if words[0] == inactive), 0)
        yield max(0, int(most) - int(used) + given_up)


def _folders(mount: Path, path: str) -> Iterator[Path]:
    """Walk a cgroup and its parents; in a container the path may not exist under the mount."""
    inside = PurePosixPath(path.lstrip("/"))
    yield mount / inside
    for parent in inside.parents:
        yield mount / parent


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
