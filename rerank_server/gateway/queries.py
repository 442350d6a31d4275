"""Scores requests that hold several queries: one worker request a query, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rerank_server.core.routing import FallbackReason
from rerank_server.errors import UnavailableError
from rerank_server.gateway.dialect import Fallback, Scores

_AT_ONCE = 16  # worker requests of one client request; the worker batches them together


@dataclass(frozen=True, slots=True)
class Part:
    """What one version answered to one query."""

    version: str
    scores: Scores
    fallback: Fallback | None
    degraded: FallbackReason | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One query and the documents to be scored for it."""

    query: str
    docs: Sequence[str]
    places: Sequence[int]
    """Where in the whole request the documents stand."""


Ask = Callable[[str, Sequence[str]], Awaitable[Part]]


def split(queries: Sequence[str], docs: Sequence[str]) -> list[Question]:
    """Return the distinct queries with their documents; both have the same length."""
    places: dict[str, list[int]] = {}
    for place, query in enumerate(queries):
        places.setdefault(query, []).append(place)
    return [Question(query, [docs[p] for p in at], at) for query, at in places.items()]


async def join(questions: Sequence[Question], ask: Ask) -> Part:
    """Ask every question, a few at a time, and return the scores in the request's order.

    Raises:
        UnavailableError: two versions answered, whose scores cannot be compared.
        RerankServerError: what went wrong with the first question that failed.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def answer(question: Question) -> Part:
        async with gate:
            return await ask(question.query, question.docs)

    tasks = [asyncio.ensure_future(answer(question)) for question in questions]
    try:
        parts = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if len({part.version for part in parts}) > 1:
        raise UnavailableError("the version changed while this request was scored; try again")
    degraded = next((part.degraded for part in parts if part.degraded is not None), None)
    return Part(parts[0].version, _merged(questions, parts), parts[0].fallback, degraded)


def _merged(questions: Sequence[Question], parts: Sequence[Part]) -> Scores:
    count = sum(len(question.docs) for question in questions)
    raw, unit, tokens = [0.0] * count, [0.0] * count, [0] * count
    truncated: list[int] = []
    stages = [""] * count
    for question, part in zip(questions, parts, strict=True):
        scores = part.scores
        for i, place in enumerate(question.places):
            raw[place], unit[place] = scores.raw[i], scores.unit[i]
            tokens[place] = scores.tokens[i] if i < len(scores.tokens) else 0
        truncated += [question.places[i] for i in scores.truncated]
        for place, stage in zip(question.places, scores.stages, strict=False):
            stages[place] = stage
    # A query with few documents skips the first stages, and only those.
    cascade = max((part.scores.cascade for part in parts), key=len)
    return Scores(
        raw=raw,
        unit=unit,
        tokens=tokens,
        truncated=sorted(truncated),
        stages=stages if all(stages) else (),
        cascade=cascade,
        passed=[_passed(version, parts) for version in cascade],
        queue_ms=max(part.scores.queue_ms for part in parts),
        tokenize_ms=sum(part.scores.tokenize_ms for part in parts),
        inference_ms=sum(part.scores.inference_ms for part in parts),
    )


def _passed(version: str, parts: Sequence[Part]) -> tuple[int, int]:
    """Return how many documents of all queries reached a stage, and how many went on."""
    found = [
        counts
        for part in parts
        for stage, counts in zip(part.scores.cascade, part.scores.passed, strict=True)
        if stage == version
    ]
    return sum(got for got, _ in found), sum(left for _, left in found)
