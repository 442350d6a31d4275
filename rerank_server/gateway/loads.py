"""How many requests each instance holds from this process, and who is asked next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rerank_server.core.routing import Candidate

_REMEMBERED = 256


class Loads:
    """The requests that one event loop has at its instances."""

    def __init__(self) -> None:
        self._in_flight: dict[str, int] = {}
        self._turns: dict[str, int] = {}
        """When an instance was last asked, counted in requests; the latest last."""
        self._turn = 0

    def pick(self, candidates: Iterable[Candidate]) -> Candidate | None:
        """Return the candidate to ask: of the first's version, the one with least to do.

        Of several that have as little, the one that was not asked for longest.
        """
        found = iter(candidates)
        best = next(found, None)
        if best is None:
            return None
        for other in found:
            if other.version != best.version:
                break
            if self._rank(other) < self._rank(best):
                best = other
        return best

    @contextmanager
    def held(self, instance: str) -> Iterator[None]:
        """Count one request as being at an instance."""
        self._turn += 1
        self._turns.pop(instance, None)
        self._turns[instance] = self._turn
        if len(self._turns) > _REMEMBERED:
            del self._turns[next(iter(self._turns))]
        self._in_flight[instance] = self._in_flight.get(instance, 0) + 1
        try:
            yield
        finally:
            left = self._in_flight[instance] - 1
            if left:
                self._in_flight[instance] = left
            else:
                del self._in_flight[instance]

    def _rank(self, candidate: Candidate) -> tuple[int, int]:
        instance = candidate.target.instance
        return self._in_flight.get(instance, 0), self._turns.get(instance, 0)
