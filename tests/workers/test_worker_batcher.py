from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_workers.batcher import Batcher, BatchLimits, Pair

NEVER = 1e9


@dataclass(frozen=True)
class Item:
    tokens: int
    truncated: bool = False


@dataclass(eq=False)
class Request:
    name: str
    pairs: int = 0


def queue(batcher: Batcher[Request], name: str, *lengths: int, **options: object) -> Request:
    request = Request(name, len(lengths))
    deadline = options.get("deadline")
    assert deadline is None or isinstance(deadline, float)
    batcher.add(
        request,
        [Item(length) for length in lengths],
        deadline=deadline,
        alone=bool(options.get("alone")),
    )
    return request


def shape(batch: Sequence[Pair[Request]]) -> list[tuple[str, int]]:
    return [(pair.work.name, pair.tokens) for pair in batch]


def padded(batch: Sequence[Pair[Request]]) -> int:
    return len(batch) * max(1, *(pair.tokens for pair in batch))


def take_all(batcher: Batcher[Request], now: float = 0.0) -> list[list[Pair[Request]]]:
    batches = []
    while batch := batcher.take(now):
        batches.append(batch)
    return batches


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


LENGTHS = st.integers(0, 600)


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


@dataclass(frozen=True)
class Add:
    lengths: list[int]
    lifetime: float | None
    alone: bool


@dataclass(frozen=True)
class Drop:
    which: int


@dataclass(frozen=True)
class Take:
    later: float


STEPS = st.lists(
    st.builds(
        Add,
        st.lists(LENGTHS, max_size=30),
        st.none() | st.floats(0.1, 5.0),
        st.booleans(),
    )
    | st.builds(Drop, st.integers(0, 50))
    | st.builds(Take, st.floats(0.0, 2.0)),
    max_size=40,
)
LIMITS = st.builds(
    BatchLimits, st.integers(1, 20), st.integers(1, 5000), st.booleans(), st.booleans()
)


@settings(deadline=None)  # the machine may be busy
@given(limits=LIMITS, steps=STEPS)
def test_no_pair_is_lost_scored_twice_or_scored_for_nobody(
    limits: BatchLimits, steps: list[Add | Drop | Take]
) -> None:
    batcher: Batcher[Request] = Batcher(limits)
    requests: list[Request] = []
    deadlines: dict[Request, float] = {}
    alone: set[Request] = set()
    gone: set[Request] = set()
    taken: set[tuple[Request, int]] = set()
    now = 0.0

    def check(batch: list[Pair[Request]]) -> None:
        owners = {pair.work for pair in batch}
        places = {(pair.work, pair.index) for pair in batch}
        assert not owners & gone
        assert all(deadlines[owner] > now for owner in owners)
        assert len(places) == len(batch)
        assert not places & taken
        taken.update(places)
        if limits.whole_requests or not limits.mixes_requests or owners & alone:
            assert len(owners) <= 1
        if not limits.whole_requests and len(batch) > 1:
            assert len(batch) <= limits.batch_size
            assert padded(batch) <= limits.max_batch_tokens
            assert [p.tokens for p in batch] == sorted((p.tokens for p in batch), reverse=True)

    for step in steps:
        match step:
            case Add(lengths, lifetime, is_alone):
                deadline = NEVER if lifetime is None else now + lifetime
                request = queue(
                    batcher, str(len(requests)), *lengths, deadline=deadline, alone=is_alone
                )
                requests.append(request)
                deadlines[request] = deadline
                if is_alone:
                    alone.add(request)
            case Drop(which) if which < len(requests):
                batcher.drop(requests[which])
                gone.add(requests[which])
            case Take(later):
                now += later
                check(batcher.take(now))
            case _:
                pass
    for batch in take_all(batcher, now):
        check(batch)

    alive = [r for r in requests if r not in gone and deadlines[r] > now]
    assert {(r, i) for r in alive for i in range(r.pairs)} <= taken
    assert batcher.is_empty
    assert batcher.queued_pairs == 0
