"""How far two rankings of the same documents agree."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence


def same_top(a: Sequence[int], b: Sequence[int]) -> bool:
    """Tell whether both rank the same document first; of each the ranks in input order, from 1."""
    return a.index(1) == b.index(1)


def overlap(a: Sequence[int], b: Sequence[int], k: int) -> float:
    """Return the share of the k first documents of one that are among those of the other."""
    k = min(k, len(a))
    return sum(x <= k and y <= k for x, y in zip(a, b, strict=True)) / k


def kendall(a: Sequence[int], b: Sequence[int]) -> float | None:
    """Return Kendall's tau of two rankings without ties: 1 the same, -1 reversed.

    The share of pairs in the same order less that of pairs in the opposite one (Kendall,
    A New Measure of Rank Correlation, Biometrika 30, 1938). None for a single document.
    """
    n = len(a)
    if n < 2:
        return None
    by_a = [rank for _, rank in sorted(zip(a, b, strict=True))]
    seen: list[int] = []
    discordant = 0
    for rank in by_a:
        discordant += len(seen) - bisect_right(seen, rank)
        insort(seen, rank)
    return 1 - 4 * discordant / (n * (n - 1))
