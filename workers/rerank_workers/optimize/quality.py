"""How close the scores of a variant are to the original's, query by query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rerank_workers.engines.batch import Floats

TOP = 10


@dataclass(frozen=True, slots=True)
class Quality:
    """Agreement of two scorings of the same requests."""

    spearman: float
    """Mean over the requests."""
    top_overlap: float
    """Share of the original's ten best that are among the variant's ten best; mean."""
    max_deviation: float
    """Largest difference of one raw score."""
    mean_deviation: float
    ndcg: float | None
    """Mean nDCG@10 of the variant; None where nothing is labelled relevant."""
    ndcg_original: float | None


def compare(
    original: Sequence[Floats], variant: Sequence[Floats], relevant: Sequence[Sequence[int]]
) -> Quality:
    """Compare raw scores, one array a request; `relevant` holds indices, or nothing at all."""
    pairs = list(zip(original, variant, strict=True))
    differences = np.concatenate([np.abs(a - b) for a, b in pairs])
    labelled = [index for index, found in enumerate(relevant) if found]
    return Quality(
        spearman=float(np.mean([spearman(a, b) for a, b in pairs if len(a) > 1])),
        top_overlap=float(np.mean([top_overlap(a, b) for a, b in pairs])),
        max_deviation=float(differences.max()),
        mean_deviation=float(differences.mean()),
        ndcg=_mean_ndcg(variant, relevant, labelled),
        ndcg_original=_mean_ndcg(original, relevant, labelled),
    )


def spearman(first: Floats, second: Floats) -> float:
    """Correlate the ranks of two scorings, -1..1; ties rank in order of place."""
    ranks = [np.argsort(np.argsort(s, kind="stable")).astype(np.float64) for s in (first, second)]
    one, other = (rank - rank.mean() for rank in ranks)
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def top_overlap(first: Floats, second: Floats) -> float:
    """Return which share of the first scoring's ten best the second has among its own."""
    best = [set(np.argsort(-scores, kind="stable")[:TOP].tolist()) for scores in (first, second)]
    return len(best[0] & best[1]) / len(best[0])


def ndcg(scores: Floats, relevant: Sequence[int]) -> float:
    """Return nDCG@10 with every relevant document worth the same."""
    places = np.argsort(-scores, kind="stable")[:TOP].tolist()
    gains = [1 / np.log2(rank + 2) for rank, place in enumerate(places) if place in relevant]
    ideal = [1 / np.log2(rank + 2) for rank in range(min(len(relevant), TOP))]
    return float(sum(gains) / sum(ideal))


def _mean_ndcg(
    scores: Sequence[Floats], relevant: Sequence[Sequence[int]], labelled: Sequence[int]
) -> float | None:
    if not labelled:
        return None
    return float(np.mean([ndcg(scores[index], relevant[index]) for index in labelled]))
