"""What is kept of rollouts over restarts of the server: its rollout.json in the state dir."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from rerank_server.core.rollout import Rollout
from rerank_server.core.rollout_json import rollout_from, rollout_json
from rerank_server.core.traffic import Source
from rerank_server.errors import RunDirError
from rerank_server.supervisor.rundir import read_json, write_json

log = logging.getLogger(__name__)

LOST = "lost"
"""In place of a digest: nobody knows which section was acted on last."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The last rollout, and what goes on after it."""

    rollout: Rollout | None = None
    by: Source = Source.OPERATOR
    """Who started it."""
    section: str | None = None
    """Digest of the config's rollout section that was acted on last; None: there was none."""
    over: Mapping[str, float] | None = None
    """The config's shares when it was aborted; None: an operator has spoken since."""
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    """How often which outcome was, by version."""

    def counted(self, to: str, outcome: str) -> Mapping[str, Mapping[str, int]]:
        """Return the counts with one more."""
        own = dict(self.counts.get(to, {}))
        own[outcome] = own.get(outcome, 0) + 1
        return {**self.counts, to: own}


class RolloutFile:
    """The file. A broken one is forgotten, said in the log, and written anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Kept:
        """Return what is kept."""
        try:
            found = read_json(self._path)
            return Kept() if found is None else _kept(found)
        except (
            RunDirError,
            KeyError,
            TypeError,
            ValueError,
            ArithmeticError,
            AttributeError,
        ) as error:
            log.error("the rollout is forgotten", extra={"problem": str(error)})
            return Kept(section=LOST)

    def write(self, kept: Kept) -> None:
        """Keep this. A disk that is full is logged, not raised: the traffic goes on."""
        rollout = None if kept.rollout is None else rollout_json(kept.rollout)
        try:
            write_json(
                self._path,
                {
                    "schema": 1,
                    "rollout": rollout,
                    "by": kept.by,
                    "section": kept.section,
                    "over": None if kept.over is None else dict(kept.over),
                    "counts": {to: dict(counts) for to, counts in kept.counts.items()},
                },
            )
        except OSError as error:
            problem = {"file": str(self._path), "why": error.strerror}
            log.error("the rollout cannot be kept", extra=problem)


def _kept(value: Mapping[str, object]) -> Kept:
    rollout, section, counts = value["rollout"], value["section"], _object(value["counts"])
    over = None if value["over"] is None else _object(value["over"])
    return Kept(
        rollout=None if rollout is None else rollout_from(_object(rollout)),
        by=Source(str(value["by"])),
        section=None if section is None else str(section),
        over=None if over is None else {str(n): float(str(share)) for n, share in over.items()},
        counts={
            str(to): {str(outcome): int(str(n)) for outcome, n in _object(own).items()}
            for to, own in counts.items()
        },
    )


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError("not an object")
    return value
