"""Finds a worker that answers a request: one live instance after the other, each at most once."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from rerank_server.core.routing import (
    Candidate,
    Choice,
    FallbackReason,
    RoutesTable,
    Target,
    absence,
)
from rerank_server.core.stops import stops, why
from rerank_server.core.traffic import Stage
from rerank_server.errors import DeadlineError, UnavailableError, WorkerLostError
from rerank_server.gateway import cascade
from rerank_server.gateway.connection import Answer
from rerank_server.gateway.dialect import Fallback
from rerank_server.gateway.ledger import DEATHS_TO_REFUSE, LossLedger, digest_of
from rerank_server.gateway.loads import Loads
from rerank_server.gateway.table import Routes
from rerank_server.gateway.upstream import Errand, Lost, Outcome, Refused, Upstream

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Journey:
    """Who may answer a request, by one routes table."""

    table: RoutesTable
    choice: Choice
    is_strict: bool
    """Whether only the very version asked for may answer."""
    routes: Routes | None = None
    """Where a newer table is found, should this one's instances all be gone."""

    def renewed(self) -> Journey | None:
        """Return the journey by a newer table; None when there is none.

        A slow sender may arrive after the worker it set out for was replaced. The supervisor
        publishes the successor before the old one refuses, so the newer table has it.
        """
        view = self.routes.current() if self.routes is not None else None
        if view is None or view.table is self.table:
            return None
        return replace(self, table=view.table)

    def candidates(self) -> Iterator[Candidate]:
        """Yield the live instances that may answer, best first."""
        for candidate in stops(self.table, self.choice):
            if self.is_strict and (self.choice.reason or candidate.version != self.choice.version):
                return
            yield candidate

    def fitted(self, errand: Errand, candidate: Candidate) -> Errand:
        """Return the errand with the bound of the candidate's own queue."""
        bound = self.table.versions[candidate.version].limits.max_queued_pairs
        if bound == errand.max_queued_pairs:
            return errand
        return replace(errand, max_queued_pairs=bound)

    def fallback(self, version: str, refusal: FallbackReason | None) -> Fallback | None:
        """Return what is said when `version` answers, given why the one asked for refused."""
        found = why(self.table, self.choice, version, refusal)
        return None if found is None else Fallback(*found)

    def dead_end(self, refusal: FallbackReason | None) -> UnavailableError:
        """Return the error for when nobody could answer."""
        choice = self.choice
        if self.is_strict and choice.reason is not None:
            return UnavailableError(
                "the version asked for is not served here, and X-Rerank-Strict forbids another"
            )
        absent = refusal
        if choice.version in self.table.versions:
            absent = absence(self.table, choice) or refusal
        what = f"version {choice.version} cannot answer now" + (f" ({absent})" if absent else "")
        rest = "X-Rerank-Strict forbids another" if self.is_strict else "nor can any fallback"
        return UnavailableError(f"{what}, {rest}")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A worker answered."""

    version: str
    answer: Answer
    fallback: Fallback | None
    degraded: FallbackReason | None = None
    """Why it runs on a lesser device than it should; None while it does not."""


@dataclass(frozen=True, slots=True)
class _DeadEnd:
    """Nobody took the request."""

    journey: Journey
    """As it was in the end."""
    refusal: FallbackReason | None
    """Of the version asked for, if it was reached at all."""


@dataclass(slots=True)
class _Trip:
    """What has befallen a request so far, in whatever stage."""

    payload: bytes
    """The client's. What kills in a later stage is a part of it, and on record under its name."""
    digest: str | None = None
    """Its name on record; None while no worker died with it."""
    losses: int = 0
    cascade: str | None = None
    """Whose stages it is in."""
    dead: set[str] = field(default_factory=set)
    """The versions that lost a worker; a cascade, and the stage of it."""


class Walker:
    """Walks requests over the candidates. One per event loop.

    A refusal walks on freely, nothing was executed. A loss is tried once more, alone in its
    batch, so that a text that crashes the model takes no neighbours with it; a second death with
    the same text in flight refuses that text for ten minutes.
    """

    def __init__(self, upstream: Upstream, ledger: LossLedger) -> None:
        self._upstream = upstream
        self._ledger = ledger
        self._loads = Loads()
        self._alone: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def walk(self, journey: Journey, errand: Errand) -> Arrival:
        """Return the first answer, whatever its status.

        Raises:
            UnavailableError: no candidate took the request.
            WorkerLostError: workers died with it.
            DeadlineError: its deadline passed.
        """
        trip = _Trip(errand.payload)
        try:
            trip.digest = self._suspect(errand)
            found = await self._walk(journey, errand, trip)
        except WorkerLostError as error:
            error.versions = frozenset(trip.dead)
            raise
        if isinstance(found, Arrival):
            if trip.digest is not None and found.answer.status == 200:
                self._ledger.clear(trip.digest)
            return found
        raise found.journey.dead_end(found.refusal)

    async def _walk(self, journey: Journey, errand: Errand, trip: _Trip) -> Arrival | _DeadEnd:
        refusal: FallbackReason | None = None
        for step, candidate in self._stops(journey):
            journey = step
            if trip.digest is not None:
                errand = replace(errand, is_alone=True)
            outcome: Outcome
            if candidate.stages:
                trip.cascade = candidate.version
                outcome = await self._in_stages(journey, candidate.stages, errand, trip)
                trip.cascade = None
            else:
                outcome = await self._attempt(
                    candidate.target, journey.fitted(errand, candidate), trip.digest
                )
            match outcome:
                case Answer():
                    fallback = journey.fallback(candidate.version, refusal)
                    degraded = journey.table.versions[candidate.version].degraded
                    return Arrival(candidate.version, outcome, fallback, degraded)
                case Refused():
                    reason = outcome.reason
                case Lost():
                    trip.losses += 1
                    trip.dead |= {candidate.version, trip.cascade or candidate.version}
                    reason = FallbackReason.LOST
                    trip.digest = trip.digest or digest_of(trip.payload)
                    deaths = self._mourn(candidate, errand, trip.digest)
                    if max(trip.losses, deaths) >= DEATHS_TO_REFUSE:
                        raise WorkerLostError
                case _:
                    assert_never(outcome)
            if candidate.version == journey.choice.version:
                refusal = refusal or reason
        return _DeadEnd(journey, refusal)

    async def ask(self, target: Target, errand: Errand) -> Outcome:
        """Return what this very instance makes of an errand; nobody else is asked.

        A copy of a request with which a worker died is refused: it might be what killed.

        Raises:
            DeadlineError: its deadline passed.
        """
        if errand.is_copy and self._ledger.has_seen(errand.payload):
            return Refused(FallbackReason.LOST)
        outcome = await self._upstream.score(target, errand)
        if errand.is_copy and isinstance(outcome, Lost):
            self._ledger.record(digest_of(errand.payload), target.instance)
        return outcome

    def _stops(self, journey: Journey) -> Iterator[tuple[Journey, Candidate]]:
        """Yield each live instance once, best first, with the journey that led to it.

        Of one version's instances the one with least to do comes first. After each stop the
        newest table is looked at: it may hold the successor of an instance that was replaced
        while the request was on its way, and that one comes before any fallback.
        """
        tried: set[str] = set()
        while True:
            left = (c for c in journey.candidates() if c.target.instance not in tried)
            candidate = self._loads.pick(left)
            if candidate is not None:
                tried.add(candidate.target.instance)
                yield journey, candidate
            renewed = journey.renewed()
            if renewed is None and candidate is None:
                return
            journey = renewed or journey

    def _suspect(self, errand: Errand) -> str | None:
        """Return the request's digest if a worker died with it before, None in most cases."""
        if self._ledger.is_empty():
            return None
        digest = digest_of(errand.payload)
        deaths = self._ledger.deaths(digest)
        _refuse_after(deaths)
        return digest if deaths else None

    async def _in_stages(
        self, journey: Journey, stages: Sequence[Stage], errand: Errand, trip: _Trip
    ) -> Answer | Refused:
        """Have a cascade's stages score, each by its own instances alone; no fallback of theirs."""

        async def ask(version: str, part: Errand) -> Answer | Refused:
            only = Choice(version, "path", version)
            step = replace(journey, choice=only, is_strict=True)
            found = await self._walk(step, part, trip)
            if isinstance(found, Arrival):
                return found.answer
            return Refused(found.refusal or FallbackReason.LOST)

        return await cascade.score(stages, errand, ask)

    async def _attempt(self, target: Target, errand: Errand, digest: str | None) -> Outcome:
        with self._loads.held(target.instance):
            if digest is None:
                return await self._upstream.score(target, errand)
            # One suspect at a time: beside the text that kills, others would be lost once more.
            lock = self._alone.setdefault(target.instance, asyncio.Lock())
            await _acquire(lock, errand.deadline)
            try:
                # It may have killed while this one waited.
                _refuse_after(self._ledger.deaths(digest))
                return await self._upstream.score(target, errand)
            finally:
                lock.release()

    def _mourn(self, candidate: Candidate, errand: Errand, digest: str) -> int:
        deaths = self._ledger.record(digest, candidate.target.instance)
        log.warning(
            "worker lost while scoring",
            extra={
                "version": candidate.version,
                "instance": candidate.target.instance,
                "request_id": errand.request_id,
                "trace_id": errand.trace.trace_id if errand.trace is not None else None,
                "deaths": deaths,
            },
        )
        return deaths


def _refuse_after(deaths: int) -> None:
    if deaths >= DEATHS_TO_REFUSE:
        raise WorkerLostError(
            "two worker processes died while scoring this text; it is refused for ten minutes"
        )


async def _acquire(lock: asyncio.Lock, deadline: float) -> None:
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            await lock.acquire()
    except TimeoutError:
        raise DeadlineError from None
