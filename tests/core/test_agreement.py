from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from rerank_server.core.agreement import TOP, agreement, best, kendall_tau

FEW = st.integers(-3, 3).map(float)
"""Values that tie often."""
SCORE = FEW | st.floats(-1e300, 1e300, allow_nan=False)
BOTH = st.lists(st.tuples(SCORE, SCORE), min_size=2, max_size=60)
WITHOUT_TIES = st.lists(SCORE, min_size=2, max_size=60, unique=True)

Both = list[tuple[float, float]]


def lists(both: Both) -> tuple[list[float], list[float]]:
    return [ours for ours, _ in both], [theirs for _, theirs in both]


def sign(value: float, other: float) -> int:
    return (value > other) - (value < other)


def brute_force(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return tau-b by its definition."""
    pairs = list(combinations(range(len(ours)), 2))
    first = [sign(ours[i], ours[j]) for i, j in pairs]
    second = [sign(theirs[i], theirs[j]) for i, j in pairs]
    scale = math.sqrt(sum(map(abs, first)) * sum(map(abs, second)))
    return sum(a * b for a, b in zip(first, second, strict=True)) / scale


@given(BOTH)
def test_tau_is_scipy_s(both: Both) -> None:
    ours, theirs = lists(both)
    expected = float(kendalltau(ours, theirs).statistic)

    if math.isnan(expected):  # one list is all ties: see the next test
        assert 1 in (len(set(ours)), len(set(theirs)))
    else:
        assert kendall_tau(ours, theirs) == pytest.approx(expected, abs=1e-12)


@given(BOTH)
def test_tau_is_what_its_definition_says(both: Both) -> None:
    ours, theirs = lists(both)

    if len(set(ours)) > 1 and len(set(theirs)) > 1:
        expected = brute_force(ours, theirs)
        assert kendall_tau(ours, theirs) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs", "tau"),
    [
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], 0.0),
        ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], 0.0),
        ([1.0, 1.0], [7.0, 7.0], 1.0),
        ([1.0, 2.0], [3.0, 4.0], 1.0),
        ([1.0, 2.0], [4.0, 3.0], -1.0),
        ([0.0, -0.0, 1.0], [1.0, 1.0, 2.0], 1.0),
    ],
)
def test_a_version_that_gives_all_documents_one_score_agrees_with_no_order(
    ours: list[float], theirs: list[float], tau: float
) -> None:
    assert kendall_tau(ours, theirs) == tau


@given(WITHOUT_TIES)
def test_a_ranking_agrees_with_itself_and_disagrees_with_its_reverse(scores: list[float]) -> None:
    reverse = [-score for score in scores]

    same, other = agreement(scores, scores), agreement(scores, reverse)

    assert (same.is_top_same, same.tau, same.overlap) == (True, 1.0, 1.0)
    assert (other.is_top_same, other.tau) == (False, -1.0)


@given(BOTH)
def test_agreement_has_no_side_and_stays_in_its_range(both: Both) -> None:
    ours, theirs = lists(both)

    found = agreement(ours, theirs)

    assert found == agreement(theirs, ours)
    assert -1 <= found.tau <= 1
    assert 0 <= found.overlap <= 1


@given(BOTH)
def test_only_the_order_counts_and_not_the_scale(both: Both) -> None:
    ours, theirs = lists(both)
    places = {score: float(place) for place, score in enumerate(sorted(set(ours)))}

    assert agreement([places[score] for score in ours], theirs) == agreement(ours, theirs)


@pytest.mark.parametrize(
    ("count", "kept", "overlap"),
    [(2, 2, 1.0), (10, 10, 1.0), (20, 10, 1.0), (20, 0, 0.0), (12, 8, 0.8)],
)
def test_overlap_counts_who_stays_among_the_first_ten(
    count: int, kept: int, overlap: float
) -> None:
    ours = [float(count - place) for place in range(count)]
    theirs = list(ours)
    for place in range(kept, min(TOP, count)):  # sends them behind all others
        theirs[place] = -float(place)

    assert agreement(ours, theirs).overlap == overlap


def test_ties_stand_in_the_order_of_the_documents_as_in_an_answer() -> None:
    assert best([0.5, 0.9, 0.9, 0.1], 3) == [1, 2, 0]
    assert agreement([0.9, 0.9], [0.9, 0.5]).is_top_same
    assert not agreement([0.9, 0.9], [0.5, 0.9]).is_top_same
