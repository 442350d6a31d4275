"""Maps raw scores to 0..1: monotone, in float64, NaN stays NaN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def sigmoid(raw: Sequence[float]) -> list[float]:
    """1 / (1 + exp(-x)), from logits of either sign without overflow."""
    x = np.asarray(raw, dtype=np.float64)
    shrunk = np.exp(-np.abs(x))
    unit: list[float] = (np.where(x < 0, shrunk, 1.0) / (1.0 + shrunk)).tolist()
    return unit


def from_cosine(raw: Sequence[float]) -> list[float]:
    """(1 + x) / 2, from cosines; a hair beyond 1, as fp32 gives, becomes 1."""
    x = np.asarray(raw, dtype=np.float64)
    unit: list[float] = np.clip((1.0 + x) / 2.0, 0.0, 1.0).tolist()
    return unit
