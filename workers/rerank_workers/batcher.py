"""Decides which queued pairs share the next batch: fair between requests, with little padding.

Pure: no clock, no thread, no lock; its one owner is the device thread. Service is counted in
padded tokens. Each request has a start tag; the request with the lowest one *leads* the next
batch with its longest pair, brings its other pairs of similar length, and what room is left goes
to strangers' pairs of similar length. Everybody in the batch is charged. A request that arrives
starts at the clock of the queue, so a small one overtakes the backlog of a large one, and a
stream of small ones cannot starve the large one (start-time fair queueing).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Generic, TypeVar

from rerank_workers.scorer import Item

W = TypeVar("W")

SLACK_TOKENS = 32
"""Pairs this much shorter than half of the longest still join: below it the fixed cost rules."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one batch may hold; both bounds hold, save for one over-long pair alone."""

    batch_size: int
    """Most pairs."""
    max_batch_tokens: int
    """Most padded tokens: pairs times the longest."""
    mixes_requests: bool = True
    """Whether pairs of several requests may share a batch."""
    whole_requests: bool = False
    """Whether a request is always one batch of its own, whatever its size (a bare `rerank`)."""


@dataclass(eq=False, slots=True)
class Pair(Generic[W]):
    """One queued pair: the request it belongs to, its place there, and the encoded item."""

    work: W
    index: int
    item: Item
    tokens: int


@dataclass(eq=False, slots=True)
class _Entry(Generic[W]):
    """One request's unscored pairs, longest first, and the service it has had."""

    work: W
    deadline: float | None
    alone: bool
    tag: float
    arrival: int
    pending: dict[Pair[W], None] = field(default_factory=dict)


class Batcher(Generic[W]):
    """The queue of encoded pairs. A `W` is one request's work, told apart by identity."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._entries: dict[int, _Entry[W]] = {}
        self._by_tag: list[tuple[float, int, _Entry[W]]] = []
        self._by_length: dict[int, dict[Pair[W], _Entry[W]]] = {}
        self._lengths: list[int] = []
        self._clock = 0.0
        self._advance = 0.0
        self._arrivals = 0

    @property
    def queued_pairs(self) -> int:
        """Count the pairs waiting for a batch."""
        return sum(len(entry.pending) for entry in self._entries.values())

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._entries

    def add(
        self, work: W, items: Sequence[Item], *, deadline: float | None = None, alone: bool = False
    ) -> None:
        """Queue one request's items. `alone` keeps every stranger out of its batches."""
        if not items:
            return
        self._arrivals += 1
        entry = _Entry(work, deadline, alone, self._clock, self._arrivals)
        pairs = [Pair(work, index, item, item.tokens) for index, item in enumerate(items)]
        if not self._limits.whole_requests:
            pairs.sort(key=_tokens, reverse=True)
        entry.pending = dict.fromkeys(pairs)
        self._entries[id(work)] = entry
        heappush(self._by_tag, (entry.tag, entry.arrival, entry))
        if self._is_shared(entry):
            for pair in pairs:
                self._index(pair, entry)

    def drop(self, work: W) -> int:
        """Forget a request whose waiter left; return how many pairs will not be scored."""
        entry = self._entries.get(id(work))
        return 0 if entry is None else self._forget(entry)

    def take(self, now: float) -> list[Pair[W]]:
        """Remove and return the next batch, longest pair first; empty when nothing waits.

        Requests whose deadline has passed are forgotten on the way. The caller scores the batch
        before it takes another.
        """
        self._clock += self._advance
        self._advance = 0.0
        leader = self._leader(now)
        if leader is None:
            self._by_tag.clear()
            return []
        self._clock = max(self._clock, leader.tag)
        waiting = len(self._entries)
        whole = self._limits.whole_requests
        batch = list(leader.pending) if whole else self._gather(leader, now)
        longest = max(1, batch[0].tokens)
        self._charge(batch, longest)
        self._advance = longest * len(batch) / waiting
        return batch

    def _leader(self, now: float) -> _Entry[W] | None:
        """Find the request that has had the least service; drop the expired ones met."""
        while self._by_tag:
            tag, _, entry = self._by_tag[0]
            if not entry.pending or tag != entry.tag:
                heappop(self._by_tag)
            elif _is_expired(entry, now):
                self._forget(entry)
            else:
                return entry
        return None

    def _gather(self, leader: _Entry[W], now: float) -> list[Pair[W]]:
        """Choose the leader's longest pairs, then strangers' pairs nearest below in length."""
        longest = next(iter(leader.pending)).tokens
        shortest = max(0, (longest - SLACK_TOKENS) // 2)
        fitting = self._limits.max_batch_tokens // max(1, longest)
        room = max(1, min(self._limits.batch_size, fitting))
        batch: list[Pair[W]] = []
        for pair in leader.pending:
            if pair.tokens < shortest or len(batch) == room:
                break
            batch.append(pair)
        if len(batch) < room and self._is_shared(leader):
            batch += self._company(leader, longest, shortest, room - len(batch), now)
            batch.sort(key=_tokens, reverse=True)
        return batch

    def _company(
        self, leader: _Entry[W], longest: int, shortest: int, room: int, now: float
    ) -> list[Pair[W]]:
        """Choose up to `room` pairs of other requests, longest first, oldest first."""
        chosen: list[Pair[W]] = []
        expired: dict[int, _Entry[W]] = {}
        for pair, entry in self._near(longest, shortest):
            if entry is leader:
                continue
            if _is_expired(entry, now):
                expired[entry.arrival] = entry
                continue
            chosen.append(pair)
            if len(chosen) == room:
                break
        for entry in expired.values():
            self._forget(entry)
        return chosen

    def _near(self, longest: int, shortest: int) -> Iterator[tuple[Pair[W], _Entry[W]]]:
        """Walk the shared pairs of these lengths, longest first."""
        for place in range(bisect_right(self._lengths, longest) - 1, -1, -1):
            length = self._lengths[place]
            if length < shortest:
                return
            yield from self._by_length[length].items()

    def _charge(self, batch: list[Pair[W]], cost: int) -> None:
        """Take the pairs out of the queue and add `cost` for each to its request's tag."""
        met: dict[int, _Entry[W]] = {}
        for pair in batch:
            key = id(pair.work)
            entry = self._entries[key]
            del entry.pending[pair]
            self._unindex(pair)
            entry.tag += cost
            met[key] = entry
        for key, entry in met.items():
            if entry.pending:
                heappush(self._by_tag, (entry.tag, entry.arrival, entry))
            else:
                del self._entries[key]

    def _forget(self, entry: _Entry[W]) -> int:
        count = len(entry.pending)
        for pair in entry.pending:
            self._unindex(pair)
        entry.pending.clear()
        del self._entries[id(entry.work)]
        return count

    def _is_shared(self, entry: _Entry[W]) -> bool:
        limits = self._limits
        return limits.mixes_requests and not limits.whole_requests and not entry.alone

    def _index(self, pair: Pair[W], entry: _Entry[W]) -> None:
        bucket = self._by_length.get(pair.tokens)
        if bucket is None:
            bucket = self._by_length[pair.tokens] = {}
            insort(self._lengths, pair.tokens)
        bucket[pair] = entry

    def _unindex(self, pair: Pair[W]) -> None:
        bucket = self._by_length.get(pair.tokens)
        if bucket is not None and bucket.pop(pair, None) is not None and not bucket:
            del self._by_length[pair.tokens]
            self._lengths.pop(bisect_right(self._lengths, pair.tokens) - 1)


def _tokens(pair: Pair[W]) -> int:
    return pair.tokens


def _is_expired(entry: _Entry[W], now: float) -> bool:
    return entry.deadline is not None and entry.deadline <= now
