"""One ranking out of a cascade's stages: a document that was pruned stays below all that went on.

A document's score is that of the last stage it reached. The last stage's own scores are never
touched: they are what the strong version says when it is asked alone. For a document that stage k
pruned, let `floor` be the lowest final score of those the stage let through and `cut` the lowest
score it gave one of them itself. Then, from its score x of stage k,

    raw = floor + (x - cut)        unit = floor * (x / cut)

each with the floor, the cut and the x of its own kind: stage k's scale, shifted, or for 0..1
shrunk, so that its cut falls on the floor. As x <= cut, both are at most the floor. Where rounding,
underflow or a tie at the cut would make two numbers equal whose raw scores are not, the next lower
float64 is taken. Thus the final scores fall strictly where the raw scores of a stage do, and across
each cut; what a stage itself scored equal stays equal. One thing only can make a tie: a floor of 0,
or as good as, leaves no room in 0..1 for so many below it, and some unit scores are equal to each
other or to the floor. The ranking goes by raw scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rerank_server.core.traffic import Stage

_LOWEST = -math.nextafter(math.inf, 0)  # JSON has no infinity


@dataclass(frozen=True, slots=True)
class Round:
    """What one stage said of the documents that reached it."""

    version: str
    places: Sequence[int]
    """Where in the request they stand, ascending."""
    raw: Sequence[float]
    """Finite."""
    unit: Sequence[float]


@dataclass(frozen=True, slots=True)
class Ranked:
    """The final scores, in the order of the request."""

    raw: Sequence[float]
    unit: Sequence[float]
    stages: Sequence[str]
    """The version whose score it is, by document."""


def described(stages: Sequence[Stage]) -> str:
    """Return the stages on one line: `v1-bge-small:20 > v2-minilm`."""
    return " > ".join(
        stage.version if stage.keep is None else f"{stage.version}:{stage.keep}" for stage in stages
    )


def due(stages: Sequence[Stage], docs: int) -> Sequence[Stage]:
    """Return the stages that have something to do: one that would let all through is left out."""
    return [stage for stage in stages if stage.keep is None or docs > stage.keep]


def kept(raw: Sequence[float], keep: int) -> list[int]:
    """Return the indices of the `keep` best, ascending; of equals at the cut the earlier go on."""
    return sorted(sorted(range(len(raw)), key=raw.__getitem__, reverse=True)[:keep])


def ranked(rounds: Sequence[Round]) -> Ranked:
    """Return the final scores, given all rounds in order; the first had every document.

    Each round's places are a part of those of the round before it.
    """
    count = len(rounds[0].places)
    last = rounds[-1]
    raw, unit, stages = [0.0] * count, [0.0] * count, [last.version] * count
    for place, one, other in zip(last.places, last.raw, last.unit, strict=True):
        raw[place], unit[place] = one, other
    for before, after in reversed(list(pairwise(rounds))):
        _place(before, set(after.places), raw, unit)
        for place in set(before.places).difference(after.places):
            stages[place] = before.version
    return Ranked(raw, unit, stages)


def _place(stage: Round, through: set[int], raw: list[float], unit: list[float]) -> None:
    """Put the documents that `stage` pruned below those it let through, which have their scores."""
    went_on = [i for i, place in enumerate(stage.places) if place in through]
    levels: dict[float, list[int]] = {}
    """The pruned by raw score, best first: equals are scored equal again."""
    for i in sorted(range(len(stage.raw)), key=stage.raw.__getitem__, reverse=True):
        if stage.places[i] not in through:
            levels.setdefault(stage.raw[i], []).append(i)
    floor, cut = min(raw[place] for place in through), min(stage.raw[i] for i in went_on)
    new_raw = _below(floor, [floor + (level - cut) for level in levels], _LOWEST)
    floor, cut = min(unit[place] for place in through), min(stage.unit[i] for i in went_on)
    shrunk = [floor * (stage.unit[at[0]] / cut) if cut > 0 else 0.0 for at in levels.values()]
    new_unit = _below(floor, shrunk, min(0.0, floor))
    for at, one, other in zip(levels.values(), new_raw, new_unit, strict=True):
        for i in at:
            raw[stage.places[i]], unit[stage.places[i]] = one, other


def _below(floor: float, wished: Sequence[float], bottom: float) -> list[float]:
    """Return numbers below `floor`, each below the one before it, as near as can be to the wished.

    None is below `bottom`; where that leaves no room for so many, some are equal.
    """
    found: list[float] = []
    above = floor
    for wish in wished:
        above = max(bottom, min(wish, math.nextafter(above, -math.inf)))
        found.append(above)
    for i in range(len(found) - 2, -1, -1):  # those that met at the bottom: up again, if they may
        found[i] = min(floor, max(found[i], math.nextafter(found[i + 1], math.inf)))
    return found
