"""Judges what a model made of the fixed requests: each check a verdict, a line, its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rerank_workers.optimize.quality import spearman
from rerank_workers.verify.texts import Fixed

Scores = Sequence[Sequence[float]]
"""Raw scores, request by request."""

FLOAT32 = "float32"
_SAME = 1e-5
_NEIGHBOURS_IN_FP32 = 1e-5
_NEIGHBOURS = 0.05
"""Raw score; half precision rounds otherwise in another batch, int8 scales by the row."""
_LARGE = 10.0
"""Beyond such a raw score fp32's own steps grow, and so does what is allowed."""
_LOGIT = 0.5
"""What `optimize` lets a variant move by."""
_LOGIT_OF_OTHERS = 1.0
"""What a model_cpu/ may move by that somebody else made: int8 with scales of the whole tensor moves
by 0.6 and keeps the order; beyond this, values mean something else."""
_COSINE = 0.05
_SPEARMAN = 0.98
"""Less than a large set would be asked for: among so few pairs one swap of two costs 0.002."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """What one loaded model made of the requests."""

    requests: Sequence[Fixed]
    first: Scores
    """All requests in the worker's queue at the same time."""
    again: Scores
    alone: Scores
    """Each pair by itself; each request, where the scorer shares no batch among requests."""
    shares_batches: bool
    cut: int
    """How many documents did not fit."""
    settings: Mapping[str, str]

    @property
    def is_exact(self) -> bool:
        """Whether it was computed in fp32."""
        return self.settings.get("dtype") == FLOAT32


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool | None
    """None where it does not apply; `text` then says why."""
    text: str
    figures: Mapping[str, float] = field(default_factory=dict)
    warns: bool = False
    """Whether it is right, and yet somebody should read `text`."""


def order(scoring: Scoring) -> Check:
    """Say whether the documents that answer a query come first."""
    found = {True: 0, False: 0}
    asked = {True: 0, False: 0}
    for request, scores in zip(scoring.requests, scoring.first, strict=True):
        if request.right is not None:
            asked[request.is_judged] += 1
            found[request.is_judged] += _best(scores) == request.right
    text = f"the right document first for {found[True]} of {asked[True]} queries"
    if asked[False]:
        text += "; in Chinese, too" if found[False] == asked[False] else "; not in Chinese"
    figures = {"right": found[True], "of": asked[True], "chinese_right": found[False]}
    return Check("order", found[True] == asked[True], text, figures)


def finite(scoring: Scoring) -> Check:
    """Count the scores; one that is not finite never gets here."""
    pairs = sum(len(scores) for scores in scoring.first)
    documents = "document" if scoring.cut == 1 else "documents"
    text = f"{pairs} scores; {scoring.cut} {documents} cut to fit"
    return Check("finite", True, text, {"pairs": pairs, "cut": scoring.cut})


def repeatable(scoring: Scoring) -> Check:
    """Say how far two runs of the same differ."""
    moved = deviation(scoring.first, scoring.again)
    text = "two runs are equal" if moved == 0 else f"two runs differ by {moved:.2g}"
    return Check("repeatable", moved <= _SAME, text, {"difference": moved, "limit": _SAME})


def neighbours(scoring: Scoring) -> Check:
    """Say how far a score moves with what else is in the batch."""
    moved = deviation(scoring.alone, scoring.first)
    limit = _NEIGHBOURS
    if scoring.is_exact:
        largest = max(abs(score) for scores in scoring.first for score in scores)
        limit = _NEIGHBOURS_IN_FP32 * max(1.0, largest / _LARGE)
    text = f"alone and among strangers differ by {moved:.2g} (limit {limit:.2g})"
    if not scoring.shares_batches:
        text = f"requests share no batch; by itself one differs by {moved:.2g}"
    return Check("neighbours", moved <= limit, text, {"difference": moved, "limit": limit})


def agreement(name: str, scoring: Scoring, other: Scoring, advice: str | None = None) -> Check:
    """Compare two scorings of the same requests.

    Where one of the two is of a model_cpu/, `advice` says what to do about values that moved too
    far for `optimize`, but not so far that they are wrong: then that is a warning.
    """
    pooled = [_pooled(each.first) for each in (scoring, other)]
    rho = spearman(*pooled)
    moved = deviation(scoring.first, other.first)
    judged = [index for index, request in enumerate(scoring.requests) if request.is_judged]
    same = sum(_best(scoring.first[index]) == _best(other.first[index]) for index in judged)
    is_logit = scoring.settings.get("activation") == "sigmoid"
    limit = _LOGIT if is_logit else _COSINE
    most = _LOGIT_OF_OTHERS if is_logit and advice is not None else limit
    ok = rho >= _SPEARMAN and moved <= most and same == len(judged)
    warns = ok and moved > limit
    text = (
        f"Spearman {rho:.4f} (limit {_SPEARMAN}), max deviation {moved:.2g} (limit {limit}), "
        f"same first for {same} of {len(judged)}"
    )
    if warns:
        text += f"; {advice}"
    figures = {
        "spearman": rho,
        "spearman_limit": _SPEARMAN,
        "max_deviation": moved,
        "max_deviation_limit": limit,
        "max_deviation_failure": most,
        "same_first": same,
        "of": len(judged),
    }
    return Check(name, ok, text, figures, warns)


def deviation(one: Scores, other: Scores) -> float:
    """Return the largest difference of one raw score."""
    return max(
        abs(a - b)
        for scores, others in zip(one, other, strict=True)
        for a, b in zip(scores, others, strict=True)
    )


def _best(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=lambda index: scores[index])


def _pooled(scores: Scores) -> NDArray[np.float32]:
    return np.array([score for each in scores for score in each], dtype=np.float32)
