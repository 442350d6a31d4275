"""Fetches one large file over HTTP: goes on where it broke off, checks size and checksum.

huggingface_hub (2.4) throws a half-fetched file away and compares only its size, so the transfer
itself is done here, for every hub alike.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rerank_server.errors import CatalogError

if TYPE_CHECKING:
    import httpx

_CHUNK_BYTES = 1024 * 1024
_TRIES = 5
"""Attempts in a row that may bring nothing."""

_PAUSE_S = 2.0
"""Pause before another attempt; a server that is restarted needs about that."""

TIMEOUT_S = 60.0
"""Longest silence of a server. A slow one may take as long as it likes."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repository, as its hub describes it."""

    path: str
    """Relative to the repository, with forward slashes."""
    url: str
    size_bytes: int
    sha256: str | None = None
    git_sha1: str | None = None
    """Name of the git blob, where the hub gives nothing better."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a hub has in one revision of a repository."""

    hub: str
    repo: str
    revision: str
    files: tuple[RemoteFile, ...]
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """What every request for a file carries: the token. Never shown."""


class _BrokeOff(Exception):
    """The connection ended, or the server asked for patience."""


def fetch(
    client: httpx.Client,
    file: RemoteFile,
    headers: Mapping[str, str],
    target: Path,
    report: Callable[[int], None],
    *,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Bring one file to `target`; does nothing if it is there already.

    What a broken attempt left in `<target>.part` is used. Calls `report` with the bytes that are
    there so far. Blocks.

    Raises:
        CatalogError: the server refuses, gives up, or sends another file than it described.
    """
    if target.exists() and target.stat().st_size == file.size_bytes:
        report(file.size_bytes)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    failed = 0
    have = _size(part)
    while have != file.size_bytes or not part.exists():
        before = have
        problem = _attempt(client, file, headers, part, report)
        have = _size(part)
        failed = 0 if have > before else failed + 1
        if failed >= _TRIES:
            raise CatalogError(
                f"{file.path}: broke off at {have} of {file.size_bytes} bytes ({problem}); "
                "run the same command again to go on from there"
            )
        if problem is not None:
            pause(_PAUSE_S)
    _check(file, part)
    part.rename(target)


def client(timeout_s: float = TIMEOUT_S) -> httpx.Client:
    """Open a connection pool that follows redirects and respects proxy settings."""
    import httpx

    return httpx.Client(follow_redirects=True, timeout=timeout_s)


def _attempt(
    client: httpx.Client,
    file: RemoteFile,
    headers: Mapping[str, str],
    part: Path,
    report: Callable[[int], None],
) -> Exception | None:
    """Make one request for what is missing; gives the reason if it ended early."""
    import httpx

    have = _size(part)
    if have > file.size_bytes:
        part.unlink()
        have = 0
    # Compressed transfer would make the size, and every offset, another one.
    wanted = {**headers, "Accept-Encoding": "identity"}
    if have:
        wanted["Range"] = f"bytes={have}-"
    try:
        with client.stream("GET", file.url, headers=wanted) as response:
            _receive(response, file, part, have, report)
    except (httpx.TransportError, _BrokeOff) as error:
        return error
    return None


def _receive(
    response: httpx.Response,
    file: RemoteFile,
    part: Path,
    have: int,
    report: Callable[[int], None],
) -> None:
    status = response.status_code
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500:
        raise _BrokeOff(f"the server answered {status}")
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise _BrokeOff("the server has nothing from there on")
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise CatalogError(f"{file.path}: {refusal(status)}")
    goes_on = status == HTTPStatus.PARTIAL_CONTENT and response.headers.get(
        "content-range", ""
    ).startswith(f"bytes {have}-")
    done = have if goes_on else 0
    with part.open("ab" if goes_on else "wb") as out:
        # No chunk size: gathering chunks would lose what came before a break.
        for chunk in response.iter_bytes():
            done += len(chunk)
            if done > file.size_bytes:
                out.truncate(0)
                raise CatalogError(
                    f"{file.path}: the server sends more than the {file.size_bytes} bytes it told"
                )
            out.write(chunk)
            report(done)
        out.flush()
        os.fsync(out.fileno())


def refusal(status: int) -> str:
    """Explain a status a hub refuses with."""
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return (
                f"the hub refuses access ({status}); accept the model's terms there and set the "
                "token (HF_TOKEN or MODELSCOPE_API_TOKEN)"
            )
        case HTTPStatus.NOT_FOUND:
            return "not found on the hub; is the repository's name or the revision right?"
        case _:
            return f"the hub answered {status}"


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _check(file: RemoteFile, part: Path) -> None:
    if file.sha256 is not None:
        digest, expected = hashlib.sha256(), file.sha256
    elif file.git_sha1 is not None:
        digest, expected = hashlib.sha1(usedforsecurity=False), file.git_sha1
        digest.update(f"blob {file.size_bytes}\0".encode())
    else:
        return
    with part.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        part.unlink()
        raise CatalogError(
            f"{file.path}: its checksum is {digest.hexdigest()}, the hub says {expected}; "
            "it was thrown away"
        )
