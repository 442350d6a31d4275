"""Measures a variant against the original: speed, agreement, and whether neighbours matter."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rerank_workers.engines.batch import Floats, Row
from rerank_workers.optimize.quality import Quality

Score = Callable[[Sequence[Row]], Floats]

_ROUNDS = 3
_INVARIANCE_ROWS = 24


@dataclass(frozen=True, slots=True)
class Limits:
    """What a variant may lose against fp32."""

    ndcg_loss: float = 0.01
    spearman: float = 0.998
    top_overlap: float = 0.98
    max_deviation: float = 0.5
    neighbours: float = 0.05
    """Most a raw score may move with the company it is scored in."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was measured of a variant."""

    quality: Quality
    neighbours: float
    """Most a raw score moved between alone and in shuffled company."""

    def faults(self, limits: Limits) -> list[str]:
        """Say in what the variant loses more than it may; empty when it may be installed."""
        quality = self.quality
        found = []
        if quality.spearman < limits.spearman:
            found.append(f"Spearman {quality.spearman:.4f} is below {limits.spearman}")
        if quality.top_overlap < limits.top_overlap:
            found.append(f"top-10 overlap {quality.top_overlap:.3f} is below {limits.top_overlap}")
        if not quality.max_deviation <= limits.max_deviation:
            found.append(
                f"a score moved by {quality.max_deviation:.2f}, more than {limits.max_deviation}"
            )
        if not self.neighbours <= limits.neighbours:
            found.append(
                f"a score moved by {self.neighbours:.3f} with its neighbours, "
                f"more than {limits.neighbours}"
            )
        if quality.ndcg is not None and quality.ndcg_original is not None:
            loss = quality.ndcg_original - quality.ndcg
            if loss > limits.ndcg_loss:
                found.append(f"nDCG@10 fell by {loss:.4f}, more than {limits.ndcg_loss}")
        return found


def neighbours(score: Score, rows: Sequence[Row]) -> float:
    """Score some rows alone, together and shuffled; return the largest move of one score."""
    chosen = list(rows[:: max(1, len(rows) // _INVARIANCE_ROWS)])[:_INVARIANCE_ROWS]
    alone = np.array([score([row])[0] for row in chosen])
    order = np.random.default_rng(1).permutation(len(chosen))
    shuffled = score([chosen[index] for index in order])
    together = np.abs(score(chosen) - alone).max()
    return float(max(together, np.abs(shuffled - alone[order]).max()))


def race(runners: Mapping[str, Score], rows: Sequence[Row]) -> Mapping[str, float]:
    """Let the runners score the same rows in turns; return each one's least seconds."""
    seconds = dict.fromkeys(runners, float("inf"))
    for score in runners.values():
        score(rows[:4])
    for _ in range(_ROUNDS):
        for name, score in runners.items():
            began = time.perf_counter()
            score(rows)
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    return seconds
