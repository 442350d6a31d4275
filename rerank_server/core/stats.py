"""Per-version totals that never fall, and duration quantiles over a sliding minute."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from types import MappingProxyType

from rerank_server.core import wire

WINDOW_S = 60.0
QUANTILES = (0.5, 0.9, 0.95, 0.99)


def _no_buckets() -> Mapping[int, int]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Counters:
    """Cumulative figures of one worker process, or their sum over all of a version's."""

    requests: int = 0
    pairs: int = 0
    tokens: int = 0
    errors: int = 0
    duration_count: int = 0
    duration_sum_s: float = 0.0
    buckets: Mapping[int, int] = field(default_factory=_no_buckets)

    def plus(self, other: Counters) -> Counters:
        """Return the sum, field by field."""
        return self._combine(other, 1)

    def minus(self, other: Counters) -> Counters:
        """Return the difference, field by field."""
        return self._combine(other, -1)

    def _combine(self, other: Counters, sign: int) -> Counters:
        keys = self.buckets.keys() | other.buckets.keys()
        merged = {k: self.buckets.get(k, 0) + sign * other.buckets.get(k, 0) for k in keys}
        return Counters(
            self.requests + sign * other.requests,
            self.pairs + sign * other.pairs,
            self.tokens + sign * other.tokens,
            self.errors + sign * other.errors,
            self.duration_count + sign * other.duration_count,
            self.duration_sum_s + sign * other.duration_sum_s,
            MappingProxyType({k: n for k, n in merged.items() if n}),
        )


@dataclass(frozen=True, slots=True)
class VersionStats:
    """What one version has done, over all its processes and restarts."""

    totals: Counters = Counters()
    seen: Mapping[str, Counters] = field(default_factory=lambda: MappingProxyType({}))
    """Last figures of each live process, by instance id."""
    window: tuple[tuple[float, Mapping[int, int]], ...] = ()
    """New bucket counts by time of arrival, of the last minute."""

    def take(self, instance: str, counters: Counters, now: float) -> VersionStats:
        """Return the stats after a beat of `instance` with its cumulative `counters`."""
        fresh = counters.minus(self.seen.get(instance, Counters()))
        window = tuple(entry for entry in self.window if now - entry[0] < WINDOW_S)
        if fresh.buckets:
            window = (*window, (now, fresh.buckets))
        return replace(
            self,
            totals=self.totals.plus(fresh),
            seen=MappingProxyType({**self.seen, instance: counters}),
            window=window,
        )

    def forget(self, instance: str) -> VersionStats:
        """Return the stats without the figures of a process that is gone; totals stay."""
        kept = {name: counters for name, counters in self.seen.items() if name != instance}
        return replace(self, seen=MappingProxyType(kept))

    def quantiles(self, now: float) -> Mapping[float, float | None]:
        """Return the model-time quantiles of the last minute, in seconds; None without data."""
        counts: dict[int, int] = {}
        for at, buckets in self.window:
            if now - at < WINDOW_S:
                for index, n in buckets.items():
                    counts[index] = counts.get(index, 0) + n
        return {q: quantile(counts, q) for q in QUANTILES}


def quantile(counts: Mapping[int, int], q: float) -> float | None:
    """Return the q-quantile of a log-bucketed histogram, in seconds (bucket's geometric middle).

    The relative error is at most half a bucket: sqrt(growth) - 1, about 5%.
    """
    indices = sorted(counts)
    up_to = list(accumulate(counts[index] for index in indices))
    if not up_to or up_to[-1] == 0:
        return None
    index = indices[bisect_left(up_to, q * up_to[-1])]
    return middle_s(index)


def middle_s(index: int) -> float:
    """Return the geometric middle of a bucket, in seconds."""
    return wire.HISTOGRAM_MIN_S * math.pow(wire.HISTOGRAM_GROWTH, index + 0.5)
