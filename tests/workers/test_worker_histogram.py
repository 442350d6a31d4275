from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_workers.histogram import Histogram, bucket_floor_s, bucket_of
from rerank_workers.wire import HISTOGRAM_BUCKETS, HISTOGRAM_GROWTH, HISTOGRAM_MIN_S


@given(st.floats(HISTOGRAM_MIN_S, 300.0))
def test_a_duration_lies_within_its_bucket(duration_s: float) -> None:
    index = bucket_of(duration_s)

    assert bucket_floor_s(index) <= duration_s < bucket_floor_s(index + 1)


@given(st.integers(0, HISTOGRAM_BUCKETS - 1))
def test_a_border_belongs_to_the_bucket_it_opens(index: int) -> None:
    border_s = HISTOGRAM_MIN_S * HISTOGRAM_GROWTH**index

    assert bucket_of(border_s) == index
    assert bucket_of(math.nextafter(border_s, 0.0)) == max(0, index - 1)


@pytest.mark.parametrize(
    ("duration_s", "index"),
    [(0.0, 0), (-1.0, 0), (1e-9, 0), (1e-4, 0), (1e6, HISTOGRAM_BUCKETS - 1)],
)
def test_the_first_and_the_last_bucket_are_open_ended(duration_s: float, index: int) -> None:
    assert bucket_of(duration_s) == index


def test_counts_and_sum_add_up() -> None:
    histogram = Histogram()

    for duration_s in (0.5, 0.5, 0.001, 0.0):
        histogram.add(duration_s)

    assert histogram.count == 4
    assert histogram.sum_s == pytest.approx(1.001)
    assert histogram.buckets() == {"0": 1, str(bucket_of(0.001)): 1, str(bucket_of(0.5)): 2}
    assert list(histogram.buckets()) == sorted(histogram.buckets(), key=int)
