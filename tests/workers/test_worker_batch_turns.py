"""Whose turn it is: who leaves the queue, overtakes, and is never starved."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_workers.batcher import Batcher, BatchLimits
from tests.workers.pairs import LENGTHS, Request, padded, queue, shape, take_all


def test_a_dropped_request_leaves_the_queue_at_once() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(2, 1000))
    gone = queue(batcher, "a", 10, 20, 30)
    queue(batcher, "b", 10)
    batcher.take(0.0)

    dropped = batcher.drop(gone)

    assert dropped == 1
    assert batcher.drop(gone) == 0
    assert [shape(batch) for batch in take_all(batcher)] == [[("b", 10)]]


def test_an_expired_request_is_neither_leader_nor_company() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(8, 1000))
    queue(batcher, "leader", 20, deadline=1.0)
    queue(batcher, "a", 20)
    queue(batcher, "company", 20, 20, deadline=1.0)
    queue(batcher, "b", 20, deadline=9.0)

    batch = batcher.take(1.0)

    assert shape(batch) == [("a", 20), ("b", 20)]
    assert batcher.is_empty


def test_a_small_request_overtakes_the_backlog_of_a_large_one() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(16, 8192))
    queue(batcher, "large", *[100] * 500)
    batcher.take(0.0)
    queue(batcher, "small", 100, 90, 80, 70, 60)

    batch = batcher.take(0.0)

    assert [name for name, _ in shape(batch)].count("small") == 5


def test_a_stream_of_small_requests_does_not_starve_a_large_one() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(16, 8192, mixes_requests=False))
    queue(batcher, "large", *[100] * 160)
    served = takes = small_waiting = 0
    while served < 160:
        if not small_waiting:
            queue(batcher, f"small {takes}", *[100] * 5)
            small_waiting = 5
        batch = batcher.take(0.0)
        large = sum(pair.work.name == "large" for pair in batch)
        small_waiting -= len(batch) - large
        served += large
        takes += 1

    # Half of the device's time is the large one's: per batch of its 16 pairs, 6 or 7 of 5 pairs.
    assert takes < 10 * 8


def test_a_newcomer_does_not_profit_from_requests_that_left() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(16, 8192, mixes_requests=False))
    queue(batcher, "old", *[100] * 160)
    leavers = [queue(batcher, f"leaver {n}", *[100] * 16) for n in range(9)]
    batcher.take(0.0)
    for leaver in leavers:
        batcher.drop(leaver)
    batcher.take(0.0)

    queue(batcher, "new", *[100] * 160)
    turns = [batcher.take(0.0)[0].work.name for _ in range(4)]

    assert turns == ["new", "old", "new", "old"]


@settings(deadline=None)  # the machine may be busy
@given(
    large=st.lists(LENGTHS, min_size=50, max_size=200),
    small=st.lists(LENGTHS, min_size=1, max_size=5),
    head_start=st.integers(0, 5),
    batch_size=st.integers(1, 32),
    max_batch_tokens=st.integers(1, 9000),
    mixes=st.booleans(),
)
def test_a_small_request_waits_for_little_more_than_its_own_cost(
    large: list[int],
    small: list[int],
    head_start: int,
    batch_size: int,
    max_batch_tokens: int,
    mixes: bool,
) -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(batch_size, max_batch_tokens, mixes))
    queue(batcher, "large", *large)
    for _ in range(head_start):
        batcher.take(0.0)
    request = queue(batcher, "small", *small)
    own = foreign = missing = 0
    longest_batch = 0
    missing = request.pairs
    while missing:
        batch = batcher.take(0.0)
        share = sum(pair.work is request for pair in batch)
        missing -= share
        cost_of_one = padded(batch) // len(batch)
        own += share * cost_of_one
        if not share:
            foreign += padded(batch)
            longest_batch = max(longest_batch, padded(batch))

    assert foreign <= own + longest_batch
