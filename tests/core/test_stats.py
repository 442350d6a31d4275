from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_server.core import wire
from rerank_server.core.stats import QUANTILES, Counters, VersionStats, quantile

ONE = Counters(
    requests=1,
    pairs=10,
    tokens=500,
    errors=0,
    duration_count=1,
    duration_sum_s=0.5,
    buckets={40: 1},
)
TWO = Counters(
    requests=3,
    pairs=30,
    tokens=900,
    errors=1,
    duration_count=2,
    duration_sum_s=1.5,
    buckets={40: 2},
)

LONGEST_S = wire.HISTOGRAM_MIN_S * wire.HISTOGRAM_GROWTH ** (wire.HISTOGRAM_BUCKETS - 1)

counts = st.integers(0, 1000)
buckets = st.dictionaries(st.integers(0, wire.HISTOGRAM_BUCKETS - 1), st.integers(1, 100))
increments = st.builds(Counters, counts, counts, counts, counts, counts, st.floats(0, 1e3), buckets)
instances = st.sampled_from(["v1.1", "v1.2", "v1.3"])


def figures(counters: Counters) -> tuple[float, ...]:
    return (
        counters.requests,
        counters.pairs,
        counters.tokens,
        counters.errors,
        counters.duration_count,
        counters.duration_sum_s,
    )


def bucket_of(seconds: float) -> int:
    """Return the bucket by the definition in wire.py: [MIN*G**i, MIN*G**(i+1))."""
    edges = (wire.HISTOGRAM_MIN_S * wire.HISTOGRAM_GROWTH**i for i in range(1, 200))
    return next(i for i, edge in enumerate(edges) if seconds < edge)


def histogram(seconds: list[float]) -> Mapping[int, int]:
    found: dict[int, int] = {}
    for one in seconds:
        found[bucket_of(one)] = found.get(bucket_of(one), 0) + 1
    return found


def test_counters_add_and_subtract_field_by_field() -> None:
    assert ONE.plus(ONE).plus(Counters(requests=1, pairs=10, errors=1)) == Counters(
        3, 30, 1000, 1, 2, 1.0, {40: 2}
    )
    assert TWO.minus(ONE) == Counters(2, 20, 400, 1, 1, 1.0, {40: 1})
    assert TWO.minus(TWO).buckets == {}


def test_a_beat_adds_what_is_new_since_the_last_one() -> None:
    once = VersionStats().take("v1.1", ONE, 1.0)

    again = once.take("v1.1", ONE, 2.0).take("v1.1", TWO, 3.0)

    assert (once.totals, again.totals) == (ONE, TWO)


def test_totals_survive_a_worker_and_count_its_successor_on_top() -> None:
    before = VersionStats().take("v1.1", TWO, 1.0).forget("v1.1")

    after = before.take("v1.2", ONE, 2.0)

    assert after.totals == TWO.plus(ONE)
    assert after.seen.keys() == {"v1.2"}


@given(st.lists(st.tuples(instances, increments, st.booleans()), max_size=12))
def test_totals_never_fall_and_are_the_sum_over_all_processes(
    history: list[tuple[str, Counters, bool]],
) -> None:
    stats, now, generation = VersionStats(), 0.0, 0
    cumulative: dict[str, Counters] = {}
    total = Counters()

    for name, increment, restarts in history:
        if restarts:
            stats, generation = stats.forget(f"{name}/{generation}"), generation + 1
        instance = f"{name}/{generation}"
        cumulative[instance] = cumulative.get(instance, Counters()).plus(increment)
        before, now = stats.totals, now + 1.0
        stats = stats.take(instance, cumulative[instance], now)
        total = total.plus(increment)

        falls = [a < b for a, b in zip(figures(stats.totals), figures(before), strict=True)]
        assert not any(falls)

    assert figures(stats.totals) == pytest.approx(figures(total))
    assert stats.totals.buckets == total.buckets


@given(increments, increments, increments)
def test_merging_does_not_depend_on_the_order(a: Counters, b: Counters, c: Counters) -> None:
    one, other = a.plus(b).plus(c), c.plus(a).plus(b)

    assert figures(one) == pytest.approx(figures(other))
    assert one.buckets == other.buckets


def test_without_requests_there_are_no_quantiles() -> None:
    assert VersionStats().quantiles(0.0) == dict.fromkeys(QUANTILES)
    assert quantile({7: 0}, 0.5) is None


def test_quantiles_are_those_of_the_last_minute() -> None:
    slow_then_fast = (
        VersionStats()
        .take("v1.1", Counters(buckets={100: 5}), 0.0)
        .take("v1.1", Counters(buckets={100: 5, 20: 5}), 30.0)
    )

    both = slow_then_fast.quantiles(59.9)
    late = slow_then_fast.quantiles(60.0)
    none = slow_then_fast.quantiles(90.0)

    assert (both[0.5], both[0.99]) == (quantile({20: 1}, 0.5), quantile({100: 1}, 0.5))
    assert (late[0.5], late[0.99]) == (quantile({20: 1}, 0.5), quantile({20: 1}, 0.5))
    assert set(none.values()) == {None}


def test_quantiles_count_requests_not_beats() -> None:
    stats = (
        VersionStats()
        .take("v1.1", Counters(buckets={20: 9}), 0.0)
        .take("v1.1", Counters(buckets={20: 9, 100: 1}), 1.0)
    )

    assert stats.quantiles(2.0)[0.9] == quantile({20: 1}, 0.5)


def test_the_window_keeps_no_more_than_a_minute() -> None:
    stats = VersionStats()
    for second in range(200):
        stats = stats.take("v1.1", Counters(buckets={40: second + 1}), float(second))

    assert len(stats.window) == 60


@given(
    st.lists(st.floats(wire.HISTOGRAM_MIN_S, LONGEST_S), min_size=1, max_size=60),
    st.sampled_from(QUANTILES),
)
def test_a_quantile_is_within_5_percent_of_the_sorted_list(seconds: list[float], q: float) -> None:
    rank = max(1, math.ceil(q * len(seconds)))
    exact = sorted(seconds)[rank - 1]

    found = quantile(histogram(seconds), q)

    assert found == pytest.approx(exact, rel=0.05)


@given(st.lists(st.floats(wire.HISTOGRAM_MIN_S, LONGEST_S), min_size=1, max_size=60))
def test_a_higher_quantile_is_never_shorter(seconds: list[float]) -> None:
    found = [quantile(histogram(seconds), q) or 0.0 for q in (*QUANTILES, 1.0)]

    assert found == sorted(found)
