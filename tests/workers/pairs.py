"""Requests in the queue of pairs, and batches taken from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from rerank_workers.batcher import Batcher, Pair

NEVER = 1e9


@dataclass(frozen=True)
class Item:
    """A pair's length, as the queue sees it."""

    tokens: int
    truncated: bool = False


@dataclass(eq=False)
class Request:
    """A request by name."""

    name: str
    pairs: int = 0


def queue(batcher: Batcher[Request], name: str, *lengths: int, **options: object) -> Request:
    """Queue a request with pairs of these lengths, and return it."""
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
    """Return whose pairs these are, and how long."""
    return [(pair.work.name, pair.tokens) for pair in batch]


def padded(batch: Sequence[Pair[Request]]) -> int:
    """Return the tokens of a batch, with what fills it up."""
    return len(batch) * max(1, *(pair.tokens for pair in batch))


def take_all(batcher: Batcher[Request], now: float = 0.0) -> list[list[Pair[Request]]]:
    """Return batch after batch until none is left."""
    batches = []
    while batch := batcher.take(now):
        batches.append(batch)
    return batches


LENGTHS = st.integers(0, 600)
