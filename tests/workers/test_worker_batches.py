"""Which pairs make a batch."""

from __future__ import annotations

import pytest

from rerank_workers.batcher import Batcher, BatchLimits
from tests.workers.pairs import Request, queue, shape, take_all


def test_an_empty_queue_gives_no_batch() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(4, 100))

    assert batcher.take(0.0) == []
    assert batcher.is_empty


def test_a_request_without_items_is_not_queued() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(4, 100))

    queue(batcher, "a")

    assert batcher.is_empty


def test_a_batch_is_the_longest_pairs_first() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(2, 1000))
    queue(batcher, "a", 10, 40, 20, 30)

    batches = take_all(batcher)

    assert [[pair.tokens for pair in batch] for batch in batches] == [[40, 30], [20, 10]]
    assert [[pair.index for pair in batch] for batch in batches] == [[1, 3], [2, 0]]


@pytest.mark.parametrize(
    ("batch_size", "max_batch_tokens", "sizes"),
    [
        (16, 1000, [6]),
        (4, 1000, [4, 2]),
        (16, 200, [4, 2]),
        (3, 200, [3, 3]),
        (16, 50, [1, 1, 1, 1, 1, 1]),
        (16, 10, [1, 1, 1, 1, 1, 1]),
    ],
)
def test_both_bounds_hold_and_one_over_long_pair_goes_alone(
    batch_size: int, max_batch_tokens: int, sizes: list[int]
) -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(batch_size, max_batch_tokens))
    queue(batcher, "a", *[50] * 6)

    assert [len(batch) for batch in take_all(batcher)] == sizes


def test_pairs_of_several_requests_share_a_batch() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(4, 1000))
    queue(batcher, "a", 20, 10)
    queue(batcher, "b", 18, 12)

    assert shape(batcher.take(0.0)) == [("a", 20), ("b", 18), ("b", 12), ("a", 10)]


def test_strangers_nearest_in_length_join_first() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(3, 10_000))
    queue(batcher, "a", 300)
    queue(batcher, "b", 160, 310, 299)
    queue(batcher, "c", 290)

    assert shape(batcher.take(0.0)) == [("a", 300), ("b", 299), ("c", 290)]


def test_pairs_much_shorter_than_the_longest_wait_for_a_batch_of_their_own() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(16, 100_000))
    queue(batcher, "a", 512, 300, 100, 20)
    queue(batcher, "b", 500, 30)

    batches = [shape(batch) for batch in take_all(batcher)]

    assert batches == [
        [("a", 512), ("b", 500), ("a", 300)],
        [("b", 30), ("a", 20)],
        [("a", 100)],
    ]


def test_a_model_that_does_not_mix_gets_one_request_a_batch() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(8, 1000, mixes_requests=False))
    queue(batcher, "a", 10, 10)
    queue(batcher, "b", 10, 10)

    batches = [shape(batch) for batch in take_all(batcher)]

    assert batches == [[("a", 10)] * 2, [("b", 10)] * 2]


def test_a_bare_rerank_gets_its_whole_request_in_order_whatever_the_bounds() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(2, 10, whole_requests=True))
    queue(batcher, "a", 0, 0, 0, 0, 0)
    queue(batcher, "b", 0)

    batches = take_all(batcher)

    assert [[pair.index for pair in batch] for batch in batches] == [[0, 1, 2, 3, 4], [0]]


def test_a_request_that_must_be_alone_shares_no_batch() -> None:
    batcher: Batcher[Request] = Batcher(BatchLimits(8, 1000))
    queue(batcher, "a", 10, 10)
    queue(batcher, "b", 10, 10, alone=True)
    queue(batcher, "c", 10, 10)

    batches = [{name for name, _ in shape(batch)} for batch in take_all(batcher)]

    assert batches == [{"a", "c"}, {"b"}]
