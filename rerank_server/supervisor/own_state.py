"""What the state dir keeps for one config file: shares set by hand, and the rollout.

A user's state dir sees servers of several config files, one after the other or at once. What was
said of one of them is not meant for the others.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rerank_server.errors import RunDirError
from rerank_server.supervisor.rundir import StateDir, read_json, write_json

log = logging.getLogger(__name__)

_FILES = ("traffic.json", "rollout.json")
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class OwnState:
    """The files of one config; a server that has the lock may write them."""

    path: Path
    """Their directory."""
    others: tuple[str, ...] = ()
    """The configs for which something is kept, where nothing is for this one."""

    @property
    def traffic(self) -> Path:
        """The operator's word on the shares of the traffic."""
        return self.path / "traffic.json"

    @property
    def rollout(self) -> Path:
        """The last rollout, and how far it came."""
        return self.path / "rollout.json"

    @classmethod
    def of(cls, state: StateDir, config: Path) -> Self:
        """Return what is kept for this config file, in one of three places.

        That is what was kept for the very file, whatever links lead to it; else for a file of the
        same name: a link that leads elsewhere now is the same config to who put it there; else
        by a release that knew but one config. The last two are moved, nothing is removed. A
        disk that cannot be written is logged, not raised.
        """
        # Not resolved, but without "..": two ways to say one name.
        named, resolved = os.path.abspath(config), config.resolve()  # noqa: PTH100
        digest = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:_DIGITS]
        path = state.by_config / digest
        others: tuple[str, ...] = ()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _holds(path):
                kept = dict(_kept(state.by_config))
                same = next((at for at, (name, _) in kept.items() if name == named), None)
                _move(state.path if same is None else same, path)
                others = () if _holds(path) else tuple(sorted(of for _, of in kept.values()))
            write_json(path / "config.json", {"named": named, "resolved": str(resolved)})
        except OSError as error:
            problem = {"path": str(path), "why": error.strerror}
            log.error("what is kept for this config cannot be found or written", extra=problem)
        return cls(path, others)


def _holds(directory: Path) -> bool:
    return any((directory / name).exists() for name in _FILES)


def _kept(by_config: Path) -> Iterator[tuple[Path, tuple[str, str]]]:
    """Yield where something is kept, and by which name and at which path for which config."""
    for directory in sorted(by_config.iterdir()):
        try:
            found = read_json(directory / "config.json")
        except RunDirError as error:
            log.warning("whose it is cannot be read", extra={"problem": str(error)})
            continue
        if found is not None and _holds(directory):
            yield directory, (str(found.get("named")), str(found.get("resolved")))


def _move(there: Path, here: Path) -> None:
    for name in _FILES:
        if (there / name).is_file():
            (there / name).rename(here / name)
