"""Runs a version's scorer and holds it to the contract: one finite score a pair, in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rerank_workers.failures import (
    DeviceBrokenError,
    VersionFileError,
    is_device_broken,
    is_device_memory,
    named,
    one_line,
    site_of,
)
from rerank_workers.scorer import DeviceMemoryError, Item, Scorer

T = TypeVar("T")

UNIT_TOLERANCE = 1e-6
"""A cosine in fp32 may pass 1 by its rounding; such unit scores are brought back to the border."""


class ModelError(Exception):
    """The model failed on a request; `site` is what may be logged of it."""

    def __init__(self, message: str, site: str) -> None:
        super().__init__(one_line(message))
        self.site = site


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded version: its scorer, and whether each request must be one call of its own."""

    scorer: Scorer
    whole_requests: bool = False

    def encode(self, query: str, docs: Sequence[str]) -> list[Item]:
        """Tokenize one request.

        Raises:
            ModelError: the scorer raised, or gave another number of items.
        """
        items = _call(lambda: list(self.scorer.encode(query, docs)))
        if len(items) != len(docs):
            raise ModelError(f"encode gave {len(items)} items for {len(docs)} documents", "encode")
        return items

    def score(self, items: Sequence[Item]) -> list[float]:
        """Score one batch; a batch too large for the device is halved until it fits.

        Raises:
            ModelError: the scorer raised, gave another number of scores, or one not finite.
            DeviceMemoryError: a single pair, or a request that cannot be split, does not fit.
            DeviceBrokenError: a CUDA error; this process can score nothing more.
        """
        scores = self._attempt(items)
        if scores is None:
            half = len(items) // 2
            return self.score(items[:half]) + self.score(items[half:])
        _check(scores, len(items), "score")
        return scores

    def _attempt(self, items: Sequence[Item]) -> list[float] | None:
        """Return the scores of a batch, None if it is too large but its halves may not be.

        The halves are tried by the caller, once the error is gone: its frames keep alive what the
        failed batch had on the device (https://docs.pytorch.org/docs/stable/notes/faq.html).
        """
        try:
            return _call(lambda: _floats(self.scorer.score(items), "score"))
        except DeviceMemoryError:
            if len(items) < 2 or self.whole_requests:
                raise
            return None

    def unit(self, raw: Sequence[float]) -> list[float]:
        """Map raw scores to 0..1.

        Raises:
            ModelError: the scorer raised, or a value is missing, not finite or outside 0..1.
        """
        unit = _call(lambda: _floats(self.scorer.to_unit(raw), "to_unit"))
        _check(unit, len(raw), "to_unit")
        for index, value in enumerate(unit):
            if not -UNIT_TOLERANCE <= value <= 1.0 + UNIT_TOLERANCE:
                message = f"score {value:.6g} of document {index} lies outside 0..1"
                if self.whole_requests:
                    message = f"rerank must return scores within 0..1: {message}"
                raise ModelError(message, "outside 0..1")
        return [min(1.0, max(0.0, value)) for value in unit]


def _call(step: Callable[[], T]) -> T:
    """Run a step of foreign code; what it raises becomes one of the two errors of this room."""
    try:
        return step()
    except ModelError:
        raise
    except (Exception, SystemExit) as error:
        if is_device_memory(error):
            raise DeviceMemoryError(one_line(str(error))) from error
        if is_device_broken(error):
            raise DeviceBrokenError(one_line(named(error))) from error
        raise ModelError(named(error), site_of(error)) from error


def _floats(values: object, step: str) -> list[float]:
    if not isinstance(values, Iterable):
        message = f"{step} must return one number per document, not {type(values).__name__}"
        raise ModelError(message, step)
    return [float(value) for value in values]


def _check(scores: Sequence[float], expected: int, step: str) -> None:
    if len(scores) != expected:
        message = f"{step} gave {len(scores)} scores for {expected} documents"
        raise ModelError(message, f"{step}: wrong length")
    for index, value in enumerate(scores):
        if not math.isfinite(value):
            raise ModelError(f"{step} gave {value} for document {index}", f"{step}: not finite")


def warm_up(model: Model, requests: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Score fixed requests before the first client's.

    Raises:
        VersionFileError: the model broke its contract on them.
        DeviceMemoryError: one pair does not fit the device.
    """
    for query, docs in requests:
        try:
            model.unit(model.score(model.encode(query, docs)))
        except ModelError as error:
            raise VersionFileError(f"warm-up: {error}") from error
