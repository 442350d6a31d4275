"""Counts durations in the log-spaced buckets that the supervisor turns into quantiles."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rerank_workers.wire import HISTOGRAM_BUCKETS, HISTOGRAM_GROWTH, HISTOGRAM_MIN_S

_LOG_GROWTH = math.log(HISTOGRAM_GROWTH)


def bucket_floor_s(index: int) -> float:
    """Return the shortest duration that bucket `index` holds."""
    return HISTOGRAM_MIN_S * HISTOGRAM_GROWTH**index


def bucket_of(duration_s: float) -> int:
    """Return the bucket of a duration; the first and the last one are open-ended."""
    if duration_s < HISTOGRAM_MIN_S:
        return 0
    index = int(math.log(duration_s / HISTOGRAM_MIN_S) / _LOG_GROWTH)
    # The logarithm rounds: near a border it may name the neighbour.
    if duration_s < bucket_floor_s(index):
        index -= 1
    elif duration_s >= bucket_floor_s(index + 1):
        index += 1
    return min(index, HISTOGRAM_BUCKETS - 1)


class Histogram:
    """Cumulative counts since the worker started; they never fall."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.sum_s = 0.0
        self.count = 0

    def add(self, duration_s: float) -> None:
        """Count one duration."""
        index = bucket_of(duration_s)
        self._counts[index] = self._counts.get(index, 0) + 1
        self.sum_s += duration_s
        self.count += 1

    def buckets(self) -> Mapping[str, int]:
        """Return the counts of the buckets that are not empty, keyed as JSON wants them."""
        return {str(index): count for index, count in sorted(self._counts.items())}
