"""How sure a mean and a difference of means are, given one value for each question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 9999
_SEED = 20_020_708
_BATCH_VALUES = 2_000_000
"""Resampled values held in memory at a time: 16 MB."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over questions, and the interval its true value is likely in."""

    mean: float
    low: float
    high: float


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean with its 95% percentile bootstrap interval over questions.

    Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13. The bias-corrected form
    has no value where all but a few questions are alike, which is usual here.
    """
    import numpy as np
    from scipy.stats import bootstrap

    array = np.asarray(values, dtype=float)
    mean = float(array.mean())
    if len(array) < 2 or float(np.ptp(array)) == 0.0:
        return Estimate(mean, mean, mean)
    found = bootstrap(
        (array,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=_batch(len(array)),
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return Estimate(mean, float(found.low), float(found.high))


def p_value(differences: Sequence[float]) -> float:
    """Return how often chance alone would make a mean difference at least this large.

    The paired randomisation test: under the hypothesis that the versions do not differ, each
    question's difference has either sign with equal chance. It assumes no distribution and is
    what Smucker, Allan and Carterette recommend (A comparison of statistical significance tests
    for information retrieval evaluation, CIKM 2007). Exact where there are few questions, else
    from 9,999 random assignments of signs.
    """
    import numpy as np
    from scipy.stats import permutation_test

    array = np.asarray([value for value in differences if value != 0.0], dtype=float)
    if not array.size:
        return 1.0
    if array.size == 1:
        return 1.0  # either sign is as likely, and both are as large
    return float(
        permutation_test(
            (array,),
            _mean,
            permutation_type="samples",
            n_resamples=RESAMPLES,
            batch=_batch(len(array)),
            vectorized=True,
            alternative="two-sided",
            rng=np.random.default_rng(_SEED),
        ).pvalue
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for there being many, in input order.

    Whichever are below 0.05 then, the chance that any of them is wrong is below 0.05, however
    they depend on each other (Holm, A Simple Sequentially Rejective Multiple Test Procedure,
    Scandinavian Journal of Statistics 6, 1979).
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    by_size = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for place, index in enumerate(by_size):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _mean(sample: np.ndarray, axis: int) -> np.ndarray:
    return sample.mean(axis=axis)  # type: ignore[no-any-return]  # numpy says Any


def _batch(values: int) -> int:
    return max(1, _BATCH_VALUES // values)
