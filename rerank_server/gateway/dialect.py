"""What a wire format must do: read a body into a score request, write results and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rerank_server.core.routing import FallbackReason
from rerank_server.core.traffic import Split
from rerank_server.errors import RerankServerError


@dataclass(frozen=True, slots=True)
class Key:
    """Where a body has texts, for errors to name."""

    name: str
    is_list: bool = True
    """Whether it holds a list of them, or one text itself."""

    def of(self, index: int) -> str:
        """Return what names one of the texts."""
        return f"{self.name}[{index}]" if self.is_list else self.name


QUERY = Key("query", is_list=False)


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """A request in no dialect: score each document for the query."""

    query: str
    docs: Sequence[str]
    model: str | None = None
    """Version the body names, if it names one."""
    top_n: int | None = None
    """How many results to return, best first; None: all."""
    return_docs: bool = False
    originals: Sequence[object] | None = None
    """The documents as they were sent, if some were objects and are to be sent back."""
    raw_scores: bool = False
    queries: Sequence[str] | None = None
    """For requests of pairs, one query per document; None: `query` for them all."""
    may_truncate: bool = True
    """Whether a document longer than the model takes may be cut; if not, that is an error."""
    query_key: Key = QUERY
    docs_key: Key = Key("docs")


@dataclass(frozen=True, slots=True)
class Fallback:
    """Another version answered than the one asked for."""

    asked: str
    """A configured version's name, or "unknown": never a client's text."""
    reason: FallbackReason


@dataclass(frozen=True, slots=True)
class Scores:
    """What a worker made of a request; lists are in input order, one entry per document."""

    raw: Sequence[float] = ()
    unit: Sequence[float] = ()
    tokens: Sequence[int] = ()
    truncated: Sequence[int] = ()
    """Indices of the documents that did not fit the model's length."""
    windows: Sequence[Sequence[int]] = ()
    """For each document the best of its windows: first character, the one behind the last, number,
    count; empty where the version cuts documents off."""
    stages: Sequence[str] = ()
    """Of a cascade, for each document the version whose score it is; empty where there is none."""
    cascade: Sequence[str] = ()
    """Of a cascade the versions that had something to do, in order."""
    passed: Sequence[tuple[int, int]] = ()
    """For each of these, how many documents reached it, and how many of them went on."""
    queue_ms: float = 0.0
    tokenize_ms: float = 0.0
    inference_ms: float = 0.0

    def order(self) -> list[int]:
        """Return the documents' indices by raw score, best first, ties in input order."""
        return sorted(range(len(self.raw)), key=self.raw.__getitem__, reverse=True)


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """The answer to a score request, before a dialect writes it."""

    version: str
    """Who served."""
    scores: Scores
    fallback: Fallback | None = None
    degraded: FallbackReason | None = None
    """Why the version runs on a lesser device than it should; None while it does not."""
    split: Split | None = None
    """What the split of the traffic decided; None where it decided nothing."""
    total_ms: float = 0.0
    request_id: str = ""
    created_s: int = 0
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """An error as a dialect writes it."""

    status: int
    body: bytes


class Dialect(Protocol):
    """One wire format. Implementations keep no state and raise only BadRequest-like errors."""

    def parse(self, body: Mapping[str, object], *, max_docs: int) -> ScoreRequest:
        """Read a request's JSON object.

        Raises:
            BadRequestError: a field is missing or of the wrong type; names the field.
            TooLargeError: more than `max_docs` documents.
        """

    def render(self, request: ScoreRequest, result: ScoreResult) -> bytes:
        """Return the body of the 200 answer."""

    def render_error(self, error: RerankServerError, request_id: str) -> Rendered:
        """Return status and body of an error answer."""
