from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_workers.admission import Admission, Refusal, retry_after_s


@pytest.mark.parametrize(
    ("taken", "draining", "pairs", "refusal"),
    [
        ([], False, 10, None),
        ([], False, 11, Refusal.TOO_MANY_DOCS),
        ([6], False, 4, None),
        ([6], False, 5, Refusal.QUEUE_FULL),
        ([6], False, 11, Refusal.TOO_MANY_DOCS),
        ([6], True, 1, Refusal.DRAINING),
    ],
)
def test_the_queue_is_bounded_in_pairs(
    taken: list[int], draining: bool, pairs: int, refusal: Refusal | None
) -> None:
    admission = Admission(max_queued_pairs=10)
    for earlier in taken:
        assert admission.admit(earlier) is None
    admission.is_draining = draining

    assert admission.admit(pairs) is refusal


def test_a_request_s_own_bound_holds_for_it_alone() -> None:
    admission = Admission(max_queued_pairs=10)

    assert admission.admit(12, bound=20) is None
    assert admission.admit(9, bound=20) is Refusal.QUEUE_FULL
    assert admission.admit(8, bound=20) is None
    assert admission.admit(1) is Refusal.QUEUE_FULL


def test_a_drain_is_complete_when_the_last_request_is_answered() -> None:
    admission = Admission(max_queued_pairs=10)
    admission.admit(3)
    admission.is_draining = True
    before = admission.is_drained

    admission.release(3)

    assert not before
    assert admission.is_drained


@given(st.lists(st.integers(1, 20), max_size=50))
def test_what_is_released_is_what_was_admitted(sizes: list[int]) -> None:
    admission = Admission(max_queued_pairs=40)
    taken = [size for size in sizes if admission.admit(size) is None]
    peak = admission.pairs

    for size in taken:
        admission.release(size)

    assert peak == sum(taken) <= 40
    assert (admission.pairs, admission.in_flight) == (0, 0)


@pytest.mark.parametrize(
    ("pairs", "seconds_per_pair", "wait_s"),
    [(0, 0.0, 1), (10, 0.01, 1), (500, 0.01, 5), (501, 0.01, 6), (20_000, 0.1, 30)],
)
def test_the_wait_told_grows_with_the_queue(
    pairs: int, seconds_per_pair: float, wait_s: int
) -> None:
    assert retry_after_s(pairs, seconds_per_pair) == wait_s
