"""Builds a version directory out of sight and publishes it complete or not at all.

A build happens in `<models_dir>/.pull-<name>/`, locked by flock on that directory itself, so a
second builder of the same name is refused, and a killed one leaves no lock behind. A version is
there when its `model/` holds weights; `model/` is therefore always the last part to arrive.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rerank_server.core.weights import is_weights
from rerank_server.errors import CatalogError

_CODE = "rerank.py"

_SPARE_BYTES = 64 * 1024 * 1024
"""What must stay free beside the files themselves: logs and the file system's own needs."""


def is_complete(directory: Path) -> bool:
    """Whether a version directory holds a model: a weight file in `model/`."""
    return any(is_weights(file.name) for file in (directory / "model").rglob("*"))


@contextmanager
def staged(models_dir: Path, name: str, *, keep: bool = False) -> Iterator[Path]:
    """Give a directory to build one version in; it is gone afterwards, whatever happened.

    Args:
        models_dir: made if it does not exist.
        name: the version being built.
        keep: whether what is there from a broken build is handed on, and left after an error
            (for downloads that can be resumed).

    Raises:
        CatalogError: another process builds this version, or the directory cannot be written.
    """
    path = models_dir / f".pull-{name}"
    with disk_errors(models_dir):
        models_dir.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path)
    try:
        if not keep:
            empty(path)
        with disk_errors(models_dir):
            yield path
    except BaseException:
        if not keep or not any(path.iterdir()):
            shutil.rmtree(path, ignore_errors=True)
        raise
    else:
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)


def publish(built: Path, target: Path, *, force: bool = False) -> None:
    """Move a finished build to its place, in one step if nothing is there yet.

    An existing directory keeps what the build does not bring (requirements, environment, notes)
    and its `rerank.py`; `force` replaces that too and leaves the old one as `rerank.py.old`.
    `model/` goes first and comes back last, so that at every moment the version is whole or
    visibly without a model.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        built.rename(target)
        return
    _keep_own_code(built / _CODE, target / _CODE, force=force)
    parts = [part.name for part in built.iterdir() if part.name != "model"]
    replaced = built.parent / "replaced"
    replaced.mkdir()
    for name in ("model", *parts):
        if (target / name).exists():
            (target / name).rename(replaced / name)
    for name in (*parts, "model"):
        (built / name).rename(target / name)


def require_space(models_dir: Path, needed_bytes: int) -> None:
    """Refuse a build that the disk has no room for.

    Raises:
        CatalogError: too little space is free; the message says how much is missing.
    """
    free = shutil.disk_usage(models_dir).free
    if free < needed_bytes + _SPARE_BYTES:
        raise CatalogError(
            f"{models_dir}: {_size(needed_bytes)} are needed and {_size(_SPARE_BYTES)} to spare, "
            f"{_size(free)} are free"
        )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


def write_new(path: Path, text: str) -> None:
    """Write a file that was not there; whole, or not at all.

    Raises:
        FileExistsError: it is there; it is left as it is.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def empty(path: Path) -> None:
    """Remove everything in a directory."""
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Say in one line what the file system refused.

    Raises:
        CatalogError: instead of any OSError of the block.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
                raise CatalogError(f"{path}: the disk is full") from error
            case errno.EACCES | errno.EPERM | errno.EROFS:
                raise CatalogError(f"{where}: cannot be written ({error.strerror})") from error
            case _:
                raise CatalogError(f"{where}: {error.strerror or error}") from error


@contextmanager
def locked(directory: Path, refusal: str) -> Iterator[None]:
    """Hold a directory's lock while the block runs; it goes with the process, however that ends.

    Raises:
        CatalogError: another process holds it; says `refusal`.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CatalogError(refusal) from error
        yield
    finally:
        os.close(descriptor)


def _locked(path: Path) -> int:
    """Make and lock the directory; the descriptor holds the lock until it is closed."""
    while True:
        path.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have removed the directory between our open and lock.
            if _is_same(descriptor, path):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            name = path.name.removeprefix(".pull-")
            raise CatalogError(f"another process is fetching {name!r} right now") from error
        os.close(descriptor)


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _keep_own_code(new: Path, own: Path, *, force: bool) -> None:
    if not own.exists() or own.read_bytes() == new.read_bytes():
        return
    if force:
        own.rename(own.with_name(f"{_CODE}.old"))
    else:
        new.unlink()
