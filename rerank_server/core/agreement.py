"""How far two versions agree on the order of the same documents."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

TOP = 10
"""How many of the best documents `overlap` looks at."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike two rankings of the same documents are."""

    is_top_same: bool
    """Whether both answers put the same document first."""
    tau: float
    """Kendall's tau-b, -1 to 1: ties count for neither side. Where only one version gives all
    documents one score it is 0, where both do it is 1: there is no order to agree on."""
    overlap: float
    """Share of the first ten that both have, 0 to 1; of all, where there are fewer."""


def agreement(ours: Sequence[float], theirs: Sequence[float]) -> Agreement:
    """Compare the scores that two versions gave the same documents, two or more, finite.

    Takes n log n steps: about a millisecond for 1,000 documents.
    """
    top = min(TOP, len(ours))
    first, second = best(ours, top), best(theirs, top)
    return Agreement(
        is_top_same=first[0] == second[0],
        tau=kendall_tau(ours, theirs),
        overlap=len(set(first) & set(second)) / top,
    )


def best(scores: Sequence[float], count: int) -> list[int]:
    """Return the places of the best scores, best first, ties in their order, as answers have it."""
    return sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[:count]


def kendall_tau(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return Kendall's tau-b of two equally long lists of two or more finite numbers."""
    pairs = _pairs(len(ours))
    tied_ours, tied_theirs = _tied(ours), _tied(theirs)
    if pairs in (tied_ours, tied_theirs):
        return float(tied_ours == tied_theirs)
    both = list(zip(ours, theirs, strict=True))
    discordant = _discordant(sorted(both))
    concordant = pairs - tied_ours - tied_theirs + _tied(both) - discordant
    scale = math.sqrt((pairs - tied_ours) * (pairs - tied_theirs))  # exact where both are equal
    return max(-1.0, min(1.0, (concordant - discordant) / scale))


def _pairs(count: int) -> int:
    return count * (count - 1) // 2


def _tied(values: Sequence[object]) -> int:
    """Count the pairs of equal values."""
    return sum(map(_pairs, Counter(values).values()))


def _discordant(both: Sequence[tuple[float, float]]) -> int:
    """Count the pairs in which the second numbers fall while the first rise.

    Sorted by both, those that tie in the first stand in the order of their second, which is no
    fall.
    """
    seen: list[float] = []
    count = 0
    for _, value in both:
        count += len(seen) - bisect_right(seen, value)
        insort(seen, value)
    return count
