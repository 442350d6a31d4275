"""Scores copies of answered requests with another version, and compares the two rankings.

A copy is worth less than any request: it is made when the answer is sent, waits its turn in a
short queue of its own, and is shed wherever it would be in the way.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import traceback
from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import assert_never

from rerank_server.core.agreement import agreement
from rerank_server.core.limits import VersionLimits
from rerank_server.core.routing import FallbackReason, RoutesTable, Target, VersionRoute
from rerank_server.core.traffic import Mirror, fraction
from rerank_server.errors import OverloadedError, RerankServerError
from rerank_server.gateway.connection import Answer
from rerank_server.gateway.copies import Copy, Original, Result, Tallies, Witness, copy_of
from rerank_server.gateway.dialect import Scores
from rerank_server.gateway.gate import Load
from rerank_server.gateway.replies import scores_of
from rerank_server.gateway.table import Routes
from rerank_server.gateway.upstream import Errand, Lost, Outcome, Refused
from rerank_server.gateway.walk import Walker

log = logging.getLogger(__name__)

MAX_WAITING = 16
"""Copies that wait, beside the one that is being scored."""
MAX_HELD_BYTES = 8 << 20
"""Of texts and scores of the copies that wait or are being scored."""
MAX_DOCS = 2_000
"""Comparing that many rankings' places takes 3 ms, for which the event loop stands still."""
MAX_DOC_CHARS = 64 << 10
"""A worker tokenizes one document in one go, and whoever asks it meanwhile waits: 20 to 60 ms."""
PAUSE_S = 600.0
"""How long a version gets no copies after one of its processes died with one. As long as a text
that kills is refused: it must not kill the process again that has requests of its own."""

_NO_LIMITS = VersionLimits()


class Mirroring:
    """The copies of one gateway process. Never raises, never waits for anything in `offer`."""

    def __init__(
        self,
        walker: Walker,
        routes: Routes,
        load: Load,
        tallies: Tallies,
        *,
        witness: Witness | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._walker = walker
        self._routes = routes
        self._load = load
        self._tallies = tallies
        self._witness = witness
        self._clock = clock
        self._waiting: deque[Copy] = deque()
        self._held_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._turn = 0
        self._paused_until: dict[str, float] = {}
        self._asked: tuple[str, asyncio.Timeout] | None = None
        """Who scores a copy now, and what ends that early."""

    @property
    def held_bytes(self) -> int:
        """Bytes of the copies that wait or are being scored."""
        return self._held_bytes

    def offer(self, original: Original) -> None:
        """Copy a request that was just answered, if it is drawn and there is room.

        The copy is scored later, by a task of its own.
        """
        table = self._table()
        mirror = None if table is None else table.mirror
        self._leave_all_but(mirror)
        if table is None or mirror is None or not _is_drawn(mirror, original):
            return
        if not _is_comparable(original, table.versions.get(mirror.to)):
            self._tallies.count(original.version, mirror.to, Result.SKIPPED)
        elif (
            not self._has_room(original.body_bytes)
            or self._route(table, mirror.to) is None
            # The texts may be longer than the body they were made of.
            or not self._has_room((copy := copy_of(original, mirror.to, self._clock())).held_bytes)
        ):
            self._tallies.count(original.version, mirror.to, Result.SHED)
        else:
            self._keep(copy)

    def _table(self) -> RoutesTable | None:
        view = self._routes.current()
        return None if view is None else view.table

    def _leave_all_but(self, mirror: Mirror | None) -> None:
        """Wait no longer for a copy from a version that is the mirror's no more."""
        if self._asked is None:
            return
        to, timeout = self._asked
        if mirror is None or to != mirror.to:
            self._asked = None
            timeout.reschedule(asyncio.get_running_loop().time())

    def _has_room(self, more_bytes: int) -> bool:
        is_full = len(self._waiting) >= MAX_WAITING
        return not is_full and self._held_bytes + more_bytes <= MAX_HELD_BYTES

    def _route(self, table: RoutesTable, to: str) -> VersionRoute | None:
        """Return the way to the version that scores the copies; None while it is to have none."""
        route = table.versions.get(to)
        if route is None or not route.enabled or not route.targets or table.is_stopping:
            return None
        if self._load.requests * 2 > table.limits.max_concurrent_requests:
            return None
        return None if self._clock() < self._paused_until.get(to, -math.inf) else route

    def _keep(self, copy: Copy) -> None:
        self._waiting.append(copy)
        self._held_bytes += copy.held_bytes
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work(), name="mirror")

    async def _work(self) -> None:
        """Score what waits, one copy after the other."""
        while self._waiting:
            copy = self._waiting.popleft()
            try:
                result = await self._result(copy)
            except Exception as error:
                # Without the message: it may hold a text.
                stack = "".join(traceback.format_tb(error.__traceback__))
                fields = {"error": type(error).__name__, "to": copy.to, "stack": stack}
                log.error("copy failed unexpectedly", extra=fields)
                result = Result.FAILED
            finally:
                self._held_bytes -= copy.held_bytes
            self._tallies.count(copy.version, copy.to, result)
            if result is Result.FAILED and self._witness is not None:
                self._witness.failed(copy.version, copy.to)

    async def _result(self, copy: Copy) -> Result:
        table = self._table()
        if table is None or table.mirror is None or table.mirror.to != copy.to:
            return Result.SHED
        route = self._route(table, copy.to)
        if route is None:
            return Result.SHED
        now, most_s = self._clock(), route.limits.request_timeout_s
        if now - copy.offered_at >= most_s:
            return Result.SHED
        self._turn += 1
        target = route.targets[self._turn % len(route.targets)]
        errand = Errand(
            payload=copy.payload,
            request_id=copy.request_id,
            # Its own, whoever was in its way: what is too late, the version has failed at.
            deadline=now + most_s,
            max_queued_pairs=route.limits.max_queued_pairs,
            is_copy=True,
        )
        try:
            outcome = await self._ask(target, errand, copy.to)
            match outcome:
                case Answer():
                    self._compare(copy, scores_of(outcome, len(copy.raw)))
                    return Result.COMPARED
                case Refused():
                    return Result.SHED
                case Lost():
                    self._pause(copy, target)
                    return Result.FAILED
                case _:
                    assert_never(outcome)
        except (OverloadedError, TimeoutError):
            return Result.SHED
        except RerankServerError:
            return Result.FAILED

    async def _ask(self, target: Target, errand: Errand, to: str) -> Outcome:
        async with asyncio.timeout(None) as timeout:
            self._asked = to, timeout
            try:
                return await self._walker.ask(target, errand)
            finally:
                self._asked = None

    def _compare(self, copy: Copy, scores: Scores) -> None:
        found = agreement(copy.raw, scores.raw)
        is_timed = copy.inference_ms > 0 and scores.inference_ms > 0
        ratio = scores.inference_ms / copy.inference_ms if is_timed else None
        self._tallies.compare(copy.version, copy.to, len(copy.raw), found, ratio)
        if self._witness is not None:
            self._witness.compared(copy.version, copy.to, found.tau)

    def _pause(self, copy: Copy, target: Target) -> None:
        self._paused_until[copy.to] = self._clock() + PAUSE_S
        log.warning(
            "worker lost while scoring a copy; it gets none for a while",
            extra={
                "version": copy.to,
                "instance": target.instance,
                "request_id": copy.request_id,
                "pause_s": PAUSE_S,
            },
        )


def _is_drawn(mirror: Mirror, original: Original) -> bool:
    """Tell whether a request is one of the share that is copied; always the same for one id.

    Never one that the version itself has answered, or should have, nor one that a process may have
    died with: it might do so again.
    """
    fallback = original.fallback
    if mirror.to in (original.version, fallback and fallback.asked):
        return False
    if fallback is not None and fallback.reason is FallbackReason.LOST:
        return False
    return fraction(original.request_id, "mirror") < mirror.share


def _is_comparable(original: Original, route: VersionRoute | None) -> bool:
    """Tell whether both rankings can be compared, and the version takes such a request at all."""
    request = original.request
    limits = _NO_LIMITS if route is None else route.limits
    most = min(MAX_DOCS, limits.max_docs, limits.max_queued_pairs)
    if request.queries is not None or not 2 <= len(request.docs) <= most:
        return False
    longest = max(map(len, chain(request.docs, (request.query,))))
    return longest <= min(MAX_DOC_CHARS, limits.max_doc_chars)
