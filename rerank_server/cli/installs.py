"""Installs what versions require, and leaves the reason where the server finds it if that fails."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rerank_server.catalog import environment, progress
from rerank_server.core.environment import FAILURE, failure
from rerank_server.errors import CatalogError


def install(directory: Path, shown: progress.Progress, *, force: bool = False) -> bool:
    """Build the environment of a version; tell whether there was anything to do.

    A failure is noted beside requirements.txt: the server tells it as the version's reason.

    Raises:
        CatalogError: it could not be built.
    """
    note = directory / FAILURE
    try:
        is_built = environment.install(directory, shown, force=force)
    except CatalogError as error:
        # In a directory that cannot be written the server has only its own words for it.
        with contextlib.suppress(OSError):
            requirements = (directory / "requirements.txt").read_bytes()
            reason = error.message.removeprefix(f"{directory.name}: ")
            note.write_text(failure(reason, requirements), encoding="utf-8")
        raise
    with contextlib.suppress(OSError):
        note.unlink(missing_ok=True)
    return is_built


def install_all(directories: Sequence[Path]) -> None:
    """Install what these versions require and lack; say on stderr what fails, and go on."""
    with progress.shown_on() as shown:
        for directory in dict.fromkeys(directories):
            try:
                install(directory, shown)
            except CatalogError as error:
                print(f"error: {error.message}", file=sys.stderr)
