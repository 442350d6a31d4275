"""The cards from the loop's side: what is known at the start, what is said and kept of it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rerank_server.core.devices import Devices, GpusSeen, Seat
from rerank_server.core.types import Fleet
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.learnt import LearntFile
from rerank_server.supervisor.nvml import GpuWatch
from rerank_server.supervisor.site import Site

log = logging.getLogger(__name__)


class Cards:
    """Looks at the cards, tells of moves, and remembers what processes took of memory."""

    def __init__(self, site: Site, seen: Callable[[GpusSeen], None], journal: Journal) -> None:
        self._watch = GpuWatch(site.loop, lambda sight: seen(GpusSeen(sight)))
        self._file = LearntFile(site.state.memory)
        self._journal = journal

    def start(self) -> Devices:
        """Begin to look; return what is known before the first look."""
        return Devices(sight=self._watch.start(), learnt=self._file.read())

    def tend(self, before: Fleet, after: Fleet, now: float) -> None:
        """Tell what a turn of the loop changed, and keep what it learnt."""
        self._watch.tend(after.devices.sight, now)
        self._tell_moves(before.devices, after.devices)
        self._file.save(after.devices.learnt, now)

    def close(self, fleet: Fleet, now: float) -> None:
        """Look no more, and keep what was learnt last."""
        self._watch.close()
        self._file.save(fleet.devices.learnt, now, is_last=True)

    def _tell_moves(self, before: Devices, after: Devices) -> None:
        for version, replica, seat in after.seats():
            was = before.placement(version).seat(replica)
            if was is None or was.gpu == seat.gpu:
                continue
            why = seat.degraded.text if seat.degraded is not None else None
            fields = {"version": version, "replica": replica, "why": why}
            places = {"from": _name(was), "to": _name(seat)}
            self._journal.note("moved", **fields, **places)
            level = logging.WARNING if seat.degraded is not None else logging.INFO
            log.log(level, "version moves", extra={**fields, **places})


def _name(seat: Seat) -> str:
    return f"cuda:{seat.index}" if seat.gpu else "cpu"
