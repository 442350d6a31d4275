"""Asks one version of a running server, and reads its answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerank_server.cli.client import failure
from rerank_server.core.snapshot import VersionView
from rerank_server.errors import RerankServerError

if TYPE_CHECKING:
    import httpx

_LATER = (429, 503)
_NOT_OURS = "its answer is not one of rerank-server"


class UnreachableError(RerankServerError):
    """The server could not be reached, or hung up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one version made of the query and the documents."""

    version: str
    scores: tuple[float, ...] = ()
    """In input order; empty when it could not answer."""
    ranks: tuple[int, ...] = ()
    """The place of each document, in input order; the best is 1."""
    latency_ms: float | None = None
    """From here, the way there and back included."""
    inference_ms: float | None = None
    degraded: str | None = None
    """Why it answered worse or slower than it is meant to, if so."""
    error: str | None = None
    retry_after_s: float | None = None
    """When to ask again, where the version could not answer and said so."""


def ask(http: httpx.Client, version: VersionView, query: str, docs: Sequence[str]) -> Answer:
    """Return the version's own answer, or why it gave none; never that of a fallback.

    Raises:
        UnreachableError: nothing answered.
    """
    import httpx

    began = time.monotonic()
    try:
        response = http.post(
            version.endpoint,
            json={"query": query, "docs": docs},
            # A copy of each question, scored meanwhile, would be measured along.
            headers={"X-Rerank-Strict": "1", "X-Rerank-Mirror": "never"},
        )
        body = response.json()
    except httpx.HTTPError as error:
        raise UnreachableError(f"{http.base_url}: {error}") from error
    except ValueError:
        body = None
    latency_ms = (time.monotonic() - began) * 1000
    if response.status_code != 200:
        why = failure(version, response.status_code, body)
        return Answer(version.name, error=why, retry_after_s=_retry_after_s(response))
    try:
        return _answer(version.name, body, latency_ms, len(docs))
    except (KeyError, TypeError, ValueError):
        return Answer(version.name, error=_NOT_OURS)


def _retry_after_s(response: httpx.Response) -> float | None:
    said = response.headers.get("retry-after", "")
    is_later = response.status_code in _LATER and said.isascii() and said.isdecimal()
    return float(said) if is_later else None


def _answer(version: str, body: object, latency_ms: float, docs: int) -> Answer:
    """Read the answer of one version.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
    """
    if not isinstance(body, dict):
        raise TypeError("not an object")
    if body["version"] != version or body["fallback"] is not None:
        return Answer(version, error=f"{body['version']} answered in its place")
    # The server ranks by raw scores: two that look the same as shown may still differ.
    order = [int(result["index"]) for result in body["results"]]
    scores = tuple(float(score) for score in body["scores"])
    if len(scores) != docs or sorted(order) != list(range(docs)):
        raise ValueError("not every document has a score and a place")
    places = {index: place for place, index in enumerate(order, start=1)}
    return Answer(
        version,
        scores=scores,
        ranks=tuple(places[index] for index in range(docs)),
        latency_ms=latency_ms,
        inference_ms=float(body["timing_ms"]["inference"]),
        degraded=body["degraded"],
    )
