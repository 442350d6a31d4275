"""Takes files out of a zip archive nobody vouches for: none outside, no links, no bombs."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rerank_server.catalog.layout import require_inside
from rerank_server.errors import CatalogError

_MOST_ENTRIES = 10_000
_MOST_GROWTH = 100
"""Weights shrink by a few percent, JSON by ten times; what grows a hundredfold is a bomb."""
_GROWTH_FROM_BYTES = 64 * 1024 * 1024
"""Archives that unpack to less are let through whatever their ratio."""

_CHUNK_BYTES = 1024 * 1024
_ENCRYPTED = 0x1


def sizes(archive: Path) -> Mapping[str, int]:
    """List the files of an archive with the bytes they unpack to.

    Raises:
        CatalogError: it is no zip, is damaged or encrypted, has names that lead outside, links,
            names twice, or is a bomb.
    """
    with _opened(archive) as opened:
        entries = [entry for entry in opened.infolist() if not entry.is_dir()]
        if len(entries) > _MOST_ENTRIES:
            raise CatalogError(f"{archive.name}: {len(entries)} files in it; that is no model")
        for entry in entries:
            _require_plain(archive, entry)
    found = {entry.filename: entry.file_size for entry in entries}
    if len(found) != len(entries):
        raise CatalogError(f"{archive.name}: holds the same name twice")
    total = sum(found.values())
    if total > max(_GROWTH_FROM_BYTES, _MOST_GROWTH * archive.stat().st_size):
        raise CatalogError(f"{archive.name}: would grow to {total / 1e9:.1f} GB; that is a bomb")
    return found


def extract(
    archive: Path, places: Mapping[str, str], directory: Path, report: Callable[[int], None]
) -> None:
    """Write files of a listed archive to their places under a directory.

    Calls `report` with the bytes written so far. Each file's checksum is compared.

    Raises:
        CatalogError: the archive is damaged.
    """
    done = 0
    with _opened(archive) as opened:
        for name, place in places.items():
            target = directory / place
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(name) as source, target.open("xb") as out:
                while chunk := source.read(_CHUNK_BYTES):
                    out.write(chunk)
                    done += len(chunk)
                    report(done)


def _require_plain(archive: Path, entry: zipfile.ZipInfo) -> None:
    require_inside(entry.filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise CatalogError(f"{archive.name}: {entry.filename!r} is a link or no plain file")
    if entry.flag_bits & _ENCRYPTED:
        raise CatalogError(f"{archive.name}: is encrypted; unpack it yourself")


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    # What zipfile raises for damaged input; it does not translate zlib's own.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise CatalogError(f"{archive.name}: not a sound zip archive ({error})") from error
