"""Rollouts to a twin of the default, and to a slower version, in many seeded histories.

What the time guard is for cannot be seen in one history: the p95 of some hundred requests goes
up and down by half, whoever answers. Times are lognormal here, waiting included; no clock runs.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from math import log
from statistics import NormalDist

import pytest

from rerank_server.core import wire
from rerank_server.core.evidence import Figures, Tally
from rerank_server.core.rollout import Course, Rollout, Sight, State
from rerank_server.core.rollout_step import QUARTERS, step

MEDIAN_S = 0.05
NARROW, WIDE = 0.5, 1.0
"""Spreads of the logarithm: p95 is 2.3 or 5.2 times the median."""
SEEDS = 30
_BUCKETS = range(wire.HISTOGRAM_BUCKETS)


@dataclass
class History:
    """A rollout whose arm takes `slower` times as long as the others, from some quarter on."""

    seed: int
    rate: float
    """Requests a second that name no version."""
    spread: float
    course: Course
    slower: float = 1.0
    since: int = 0
    """Quarters of an interval."""
    is_uneven: bool = False
    """Whether some quarters are slower than others, for all versions alike."""

    def quarters(self) -> Iterator[Rollout]:
        """Yield the rollout after each quarter of an interval, until it has ended."""
        draw = random.Random(repr(self))
        rollout, now = step(Rollout(self.course), Sight(), 0.0)[0], 0.0
        for number in range(60 * QUARTERS):
            now += self.course.interval_s / QUARTERS
            factor = self.slower if number >= self.since else 1.0
            news = self._news(draw, rollout.share, factor)
            rollout, _ = step(rollout, Sight(news), now)
            yield rollout
            if not rollout.is_active:
                return

    def end(self) -> tuple[State, float]:
        """Return how it ended, and the highest share it had."""
        stories = list(self.quarters())
        return stories[-1].state, max(rollout.share for rollout in stories)

    def _news(self, draw: random.Random, share: float, factor: float) -> Figures:
        requests = int(self.rate * self.course.interval_s / QUARTERS)
        to_arm = sum(100 * draw.random() < share for _ in range(requests))
        hour = draw.choice((0.6, 1.0, 1.7)) if self.is_uneven else 1.0
        return Figures(
            _tally(draw, to_arm, MEDIAN_S * hour * factor, self.spread),
            _tally(draw, requests - to_arm, MEDIAN_S * hour, self.spread),
        )


def _tally(draw: random.Random, requests: int, median_s: float, spread: float) -> Tally:
    found = draw.choices(_BUCKETS, cum_weights=_cumulated(median_s, spread), k=requests)
    return Tally(requests, 0, Counter(found))


@cache
def _cumulated(median_s: float, spread: float) -> tuple[float, ...]:
    """Return how many of all requests are in each bucket or one before it."""
    normal = NormalDist(log(median_s), spread)
    first, growth = log(wire.HISTOGRAM_MIN_S), log(wire.HISTOGRAM_GROWTH)
    below = [normal.cdf(first + (bucket + 1) * growth) for bucket in _BUCKETS]
    return tuple(accumulate((*below[:-1], 1.0), max))


def histories(course: Course, slower: float = 1.0, *, is_uneven: bool = False) -> Iterator[History]:
    """Yield those of little and of much traffic, of times close together and far apart."""
    for rate in (5.0, 20.0):
        for spread in (NARROW, WIDE):
            for seed in range(SEEDS):
                yield History(seed, rate, spread, course, slower, is_uneven=is_uneven)


def test_a_twin_of_the_default_gets_all_the_traffic() -> None:
    found = Counter(history.end() for history in histories(Course("v2")))

    assert found == {(State.DONE, 100.0): 4 * SEEDS}


def test_hours_that_are_slow_for_all_end_no_twin_while_there_are_others() -> None:
    course = Course("v2", steps=(1.0, 5.0, 25.0, 50.0))

    found = Counter(history.end() for history in histories(course, is_uneven=True))

    assert found == {(State.DONE, 50.0): 4 * SEEDS}


@pytest.mark.parametrize("slower", [2.0, 3.0])
def test_a_slower_version_gets_no_more_than_a_quarter_of_the_traffic(slower: float) -> None:
    found = [history.end() for history in histories(Course("v2"), slower=slower)]

    assert State.DONE not in {state for state, _ in found}
    assert max(share for _, share in found) <= 25.0


@pytest.mark.parametrize("spread", [NARROW, WIDE])
@pytest.mark.parametrize("since", [0, 3, 9])
def test_with_a_thousand_requests_an_interval_twice_the_time_is_out_within_two(
    since: int, spread: float
) -> None:
    course = Course("v2", steps=(20.0, 30.0, 50.0))

    for seed in range(SEEDS):
        history = History(seed, 20.0, spread, course, slower=2.0, since=since)
        *before, last = history.quarters()

        assert last.state is State.ABORTED
        assert len(before) + 1 - since <= 2 * QUARTERS
        assert last.reason is not None
        assert last.reason.startswith("p95_ratio")
