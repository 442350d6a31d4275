"""Raw scores to 0..1."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_workers.families import units

LOGITS = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=20)
COSINES = st.lists(st.floats(-1, 1, width=32), max_size=20)


@given(LOGITS)
def test_sigmoids_are_monotone_and_between_0_and_1(raw: list[float]) -> None:
    unit = units.sigmoid(sorted(raw))

    assert unit == sorted(unit)
    assert all(0.0 <= score <= 1.0 for score in unit)


@given(COSINES)
def test_cosines_are_mapped_monotonously_between_0_and_1(raw: list[float]) -> None:
    unit = units.from_cosine(sorted(raw))

    assert unit == sorted(unit)
    assert all(0.0 <= score <= 1.0 for score in unit)


@pytest.mark.parametrize(
    ("logit", "unit"),
    [
        (0.0, 0.5),
        (8.25, 1 / (1 + math.exp(-8.25))),
        (-8.25, 1 / (1 + math.exp(8.25))),
        (-700.0, math.exp(-700.0)),
        (-1e30, 0.0),
        (1e30, 1.0),
    ],
)
def test_a_sigmoid_is_exact_on_both_sides(logit: float, unit: float) -> None:
    assert units.sigmoid([logit]) == pytest.approx([unit], rel=1e-9)


def test_high_logits_that_differ_in_float32_do_not_tie() -> None:
    low, high = units.sigmoid([17.0, 17.000002])

    assert low < high < 1.0


@pytest.mark.parametrize(
    ("cosine", "unit"), [(-1.0, 0.0), (0.0, 0.5), (1.0, 1.0), (1.0000001, 1.0), (-1.0000001, 0.0)]
)
def test_a_cosine_a_hair_beyond_1_becomes_1(cosine: float, unit: float) -> None:
    assert units.from_cosine([cosine]) == [unit]


@pytest.mark.parametrize("mapped", [units.sigmoid, units.from_cosine])
def test_nan_is_not_hidden(mapped: object) -> None:
    assert callable(mapped)
    assert math.isnan(mapped([math.nan])[0])
