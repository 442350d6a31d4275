"""What travels between the event loop, the tokenizing thread and the device thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rerank_workers.failures import Failure
from rerank_workers.long_docs import Won


@dataclass(eq=False, slots=True)
class Job:
    """One accepted request. The event loop alone writes `is_gone`; the threads read it."""

    number: int
    query: str
    docs: Sequence[str]
    accepted_at: float
    """Clock of the event loop (CLOCK_MONOTONIC), as are all times here."""
    deadline: float | None = None
    alone: bool = False
    request_id: str = ""
    trace_id: str = ""
    """Of the W3C trace the request belongs to; empty if it brought none."""
    max_queued_pairs: int | None = None
    """Most pairs that may wait, this one's included; None: the worker's own bound."""
    is_copy: bool = False
    """A copy that is scored for comparison: it waits until nothing else does."""
    is_gone: bool = False
    """Its waiter left or was answered: no thread needs to work on it."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """The start reached a stage: import, load or warmup."""

    stage: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model scored its warm-up pairs and waits for work."""

    info: dict[str, str]


@dataclass(frozen=True, slots=True)
class Broken:
    """The worker cannot go on: it failed to load, or the device has no room for one pair."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class BatchDone:
    """The device thread finished one batch, whatever came of it."""

    pairs: int
    tokens: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A request has all its scores."""

    job: Job
    raw: list[float]
    unit: list[float]
    tokens: list[int]
    truncated: list[int]
    tokenize_s: float
    inference_s: float
    won: list[Won] | None = None
    """The best window of each document, where long ones are cut into windows."""


@dataclass(frozen=True, slots=True)
class JobFailed:
    """The model failed on one request."""

    job: Job
    message: str
    """For the client: may quote its own texts."""
    site: str
    """For logs and operators: error class and place in the code, never a text."""


Event = Progressed | Loaded | Broken | BatchDone | Scored | JobFailed
