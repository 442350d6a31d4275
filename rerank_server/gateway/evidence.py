"""Counts how each arm of the traffic does, and tells the supervisor once a second."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from rerank_server.core.evidence import Compared, Counts, Tally, bucket_of, counts_json
from rerank_server.core.limits import VersionLimits
from rerank_server.core.routing import FallbackReason
from rerank_server.core.stats import quantile
from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.table import Routes

log = logging.getLogger(__name__)

EVERY_S = 1.0
_LATE = 504
_HASTY = 0.1
"""Of the time that a version may take: who waits for less may be too hasty for any version."""
_PLANNED = (FallbackReason.STARTING, FallbackReason.DRAINING)
"""Why an arm may be away without being at fault: somebody starts or replaces it."""


@dataclass(slots=True)
class _Arm:
    requests: int = 0
    errors: int = 0
    durations: dict[int, int] = field(default_factory=dict)
    needed: dict[int, int] = field(default_factory=dict)
    """The same, and of those that were too late, how long they took at least."""

    def tally(self) -> Tally:
        return Tally(self.requests, self.errors, self.durations)


class Evidence:
    """What one gateway process counted since it began.

    Its file is written whether anything came or not, as long as the traffic is split or
    mirrored: that it is new is how the supervisor knows that nothing was lost.
    """

    def __init__(
        self, directory: Path, routes: Routes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = directory / f"evidence-{os.getpid()}.json"
        self._routes = routes
        self._clock = clock
        self._arms: dict[str, _Arm] = {}
        self._mirrored: dict[tuple[str, str], Compared] = {}

    def count(self, exchange: Exchange) -> None:
        """Count a finished exchange, if the split decided where it went and that says something.

        It says nothing of the arm if the client was at fault, hung up, had nothing to score, or
        came while the arm was being started or replaced. Whatever else was refused once the arm
        was chosen does, and what took longer than its client would wait (504), unless it would
        not have waited for the other arms either.
        """
        name, status = exchange.arm, exchange.status
        if name is None or status == 0 or not exchange.pairs or not exchange.is_evidence:
            return
        if _is_away(exchange, name):
            return
        arm = self._arms.setdefault(name, _Arm())
        if status == _LATE:
            waited_s = min(exchange.patience_s, _limit_s(exchange, name))
            _add(arm.needed, bucket_of(waited_s) + 1)  # it would have taken longer
            if self._is_hasty(exchange, name):
                return
        arm.requests += 1
        if status >= 400 or exchange.version != name:
            arm.errors += 1
        else:
            for durations in (arm.durations, arm.needed):
                _add(durations, bucket_of(exchange.duration_s))

    def compared(self, served: str, to: str, tau: float) -> None:
        """Count how the copy that `to` scored agrees with what `served` answered."""
        self._mirror(served, to, Compared(1, tau, 0))

    def failed(self, served: str, to: str) -> None:
        """Count a copy that `to` could not score."""
        self._mirror(served, to, Compared(0, 0.0, 1))

    def counts(self) -> Counts:
        """Return all that was counted."""
        return Counts({name: arm.tally() for name, arm in self._arms.items()}, self._mirrored)

    def tell(self) -> None:
        """Write the file, if anybody may need it. A disk that is full is logged, not raised."""
        view = self._routes.current()
        if view is None or not (view.table.traffic.arms or view.table.mirror):
            return
        temporary = self._path.with_suffix(".tmp")
        try:
            temporary.write_bytes(orjson.dumps(counts_json(self.counts(), self._clock())))
            temporary.rename(self._path)
        except OSError as error:
            log.error("evidence cannot be written", extra={"why": error.strerror})

    async def run(self) -> None:
        """Tell once a second, until cancelled; then once more."""
        try:
            while True:
                self.tell()
                await asyncio.sleep(EVERY_S)
        finally:
            self.tell()

    def _is_hasty(self, exchange: Exchange, name: str) -> bool:
        """Tell whether the client waited for less than one in twenty requests to others needs.

        Never of one that waits for a good while: where even that is too short for many, the
        others are slow, and an arm that is slower yet must not be overlooked for it.
        """
        most_s = _limit_s(exchange, name) * _HASTY
        if exchange.patience_s >= most_s:
            return False
        needed: dict[int, int] = {}
        for other, arm in self._arms.items():
            if other != name:
                for bucket, count in arm.needed.items():
                    _add(needed, bucket, count)
        p95_s = quantile(needed, 0.95)
        return p95_s is not None and exchange.patience_s < p95_s

    def _mirror(self, served: str, to: str, found: Compared) -> None:
        pair = (served, to)
        self._mirrored[pair] = self._mirrored.get(pair, Compared()).plus(found)


def _add(durations: dict[int, int], bucket: int, count: int = 1) -> None:
    durations[bucket] = durations.get(bucket, 0) + count


def _limit_s(exchange: Exchange, arm: str) -> float:
    """Return how long a request of the arm may take."""
    route = exchange.view.table.versions.get(arm) if exchange.view is not None else None
    return (VersionLimits() if route is None else route.limits).request_timeout_s


def _is_away(exchange: Exchange, arm: str) -> bool:
    """Tell whether the arm was being started or replaced when the request came."""
    if exchange.fallback is not None and exchange.fallback.reason in _PLANNED:
        return True
    route = exchange.view.table.versions.get(arm) if exchange.view is not None else None
    return route is not None and route.absent in _PLANNED
