"""Random histories of the queue of pairs."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_workers.batcher import Batcher, BatchLimits, Pair
from tests.workers.pairs import LENGTHS, NEVER, Request, padded, queue, take_all


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
