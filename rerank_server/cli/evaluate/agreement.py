"""How far two rankings of the same documents agree."""

from __future__ import annotations

from collections.abc import Sequence

from rerank_server.core.agreement import kendall_tau


def same_top(a: Sequence[int], b: Sequence[int]) -> bool:
    """Tell whether both rank the same document first; of each the ranks in input order, from 1."""
    return a.index(1) == b.index(1)


def overlap(a: Sequence[int], b: Sequence[int], k: int) -> float:
    """Return the share of the k first documents of one that are among those of the other."""
    k = min(k, len(a))
    return sum(x <= k and y <= k for x, y in zip(a, b, strict=True)) / k


def kendall(a: Sequence[int], b: Sequence[int]) -> float | None:
    """Return Kendall's tau of two rankings: 1 the same, -1 reversed; None for a single document.

    By rank: the server breaks ties of what it shows by what it does not show.
    """
    return kendall_tau(a, b) if len(a) > 1 else None
