"""A copy of an answered request, what may become of it, and who is told."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import orjson

from rerank_server.core.agreement import Agreement
from rerank_server.gateway.dialect import Fallback, ScoreRequest, Scores


class Result(StrEnum):
    """What became of a request that was drawn to be copied."""

    COMPARED = "compared"
    FAILED = "failed"
    """The version could not score it, not in time, or its process died."""
    SHED = "shed"
    """There was no room for it, or nobody to score it, or not soon enough."""
    SKIPPED = "skipped"
    """There is nothing to compare: one document, several queries, or more text than is copied."""


class Tallies(Protocol):
    """What counts the copies."""

    def count(self, version: str, to: str, result: Result) -> None:
        """Count what became of a copy of a request that `version` answered."""

    def compare(
        self, version: str, to: str, docs: int, found: Agreement, latency_ratio: float | None
    ) -> None:
        """Count how two rankings of so many documents agree."""


class Witness(Protocol):
    """Who judges a version by its copies."""

    def compared(self, served: str, to: str, tau: float) -> None:
        """Learn how far the two rankings of a request agree."""

    def failed(self, served: str, to: str) -> None:
        """Learn that `to` could not score a copy."""


@dataclass(frozen=True, slots=True)
class Original:
    """A request that was answered."""

    request_id: str
    version: str
    """Who answered it."""
    fallback: Fallback | None
    """Who should have, and why that one did not."""
    request: ScoreRequest
    scores: Scores
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Copy:
    """What is kept of an answered request."""

    version: str
    to: str
    request_id: str
    payload: bytes
    raw: array[float]
    inference_ms: float
    offered_at: float
    """Monotonic clock, seconds."""

    @property
    def held_bytes(self) -> int:
        """Bytes of its texts and scores."""
        return len(self.payload) + len(self.raw) * self.raw.itemsize


def copy_of(original: Original, to: str, now: float) -> Copy:
    """Return what is kept of a request until another version scores it."""
    request, scores = original.request, original.scores
    return Copy(
        version=original.version,
        to=to,
        request_id=original.request_id,
        payload=orjson.dumps({"query": request.query, "docs": request.docs}),
        raw=array("d", scores.raw),
        inference_ms=scores.inference_ms,
        offered_at=now,
    )
