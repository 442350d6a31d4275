"""Reads what the gateway processes count of the arms, and what of it is new."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from rerank_server.core.evidence import Counts, Figures, counts_from

log = logging.getLogger(__name__)

PRUNE_EVERY_S = 60.0


class EvidenceFiles:
    """The files of all gateway processes, those that have ended included."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[str, Counts] = {}
        self._times: dict[str, float] = {}
        self._ended: set[Path] = set()

    def news(self, arm: str) -> tuple[Figures, bool]:
        """Return what is new of an arm since the last call, and whether anybody told anything.

        What counts are those of the files that were written since. A file that cannot be read
        tells nothing.
        """
        figures, is_fresh = Figures(), False
        for path in sorted(self._directory.glob("evidence-*.json")):
            found = _read(path)
            if found is None:
                continue
            counts, time = found
            if time > self._times.get(path.name, float("-inf")):
                is_fresh = True
                figures = figures.plus(counts.minus(self._known(path.name)).figures(arm))
                self._seen[path.name], self._times[path.name] = counts, time
        return figures, is_fresh

    def prune(self) -> None:
        """Forget the processes that had ended at the last call: their last word was read since.

        One that lives is never forgotten: what it counted long ago would be news again.
        """
        known = {self._directory / name for name in self._times}
        ended = {p for p in known.union(self._directory.glob("evidence-*")) if not _lives(p)}
        for path in ended & self._ended:
            if _remove(path):  # one that stays must not be news again
                self._seen.pop(path.name, None)
                self._times.pop(path.name, None)
        self._ended = ended - self._ended

    def _known(self, name: str) -> Counts:
        return self._seen.get(name, Counts())


def _lives(path: Path) -> bool:
    return Path("/proc", path.stem.removeprefix("evidence-")).exists()


def _remove(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # it tells nothing new, and does no harm
        log.warning("cannot be removed", extra={"path": str(path), "problem": str(error)})
        return False
    return True


def _read(path: Path) -> tuple[Counts, float] | None:
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, Mapping):
            raise TypeError("not an object")
        return counts_from(found)
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        log.error("evidence cannot be read", extra={"file": path.name, "why": repr(error)})
        return None
