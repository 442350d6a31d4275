"""Decides whether a request may join the queue, and says when a drain is complete."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

LONGEST_RETRY_S = 30


class Refusal(Enum):
    """Why a request is not taken."""

    DRAINING = "draining"
    QUEUE_FULL = "queue_full"
    TOO_MANY_DOCS = "too_many_docs"


@dataclass(slots=True)
class Admission:
    """The count of what was taken and not yet answered, bounded in pairs.

    The bound is the request's own: a changed config reaches a worker with the next request.
    """

    max_queued_pairs: int
    """For requests that bring no bound of their own."""
    pairs: int = 0
    """Pairs of requests taken and not yet answered."""
    in_flight: int = 0
    """Requests taken and not yet answered."""
    is_draining: bool = False

    def admit(self, pairs: int, bound: int | None = None) -> Refusal | None:
        """Take a request of so many pairs, or say why not. Each one taken is released once."""
        most = self.max_queued_pairs if bound is None else bound
        if self.is_draining:
            return Refusal.DRAINING
        if pairs > most:
            return Refusal.TOO_MANY_DOCS
        if self.pairs + pairs > most:
            return Refusal.QUEUE_FULL
        self.pairs += pairs
        self.in_flight += 1
        return None

    def release(self, pairs: int) -> None:
        """Give back what `admit` took: the request was answered, or its waiter left."""
        self.pairs -= pairs
        self.in_flight -= 1

    @property
    def is_drained(self) -> bool:
        """Whether a drain was asked for and nothing is left in flight."""
        return self.is_draining and self.in_flight == 0


def retry_after_s(pairs: int, seconds_per_pair: float) -> int:
    """Estimate when the queue will have room again: whole seconds, at least 1, at most 30."""
    return max(1, min(LONGEST_RETRY_S, math.ceil(pairs * seconds_per_pair)))
