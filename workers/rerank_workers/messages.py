"""The JSON of the worker's HTTP: reads a scoring request, writes its answers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from http import HTTPStatus

from rerank_workers.exchange import Answer, Request
from rerank_workers.jobs import Job, Scored
from rerank_workers.probe import PROBE_DOCS, PROBE_QUERY
from rerank_workers.wire import (
    CODE_BAD_REQUEST,
    HEADER_ALONE,
    HEADER_DEADLINE_MS,
    HEADER_MAX_QUEUED_PAIRS,
    HEADER_MIRROR,
    PROBE_PATH,
)

HEADER_REQUEST_ID = b"x-request-id"
_TRACEPARENT = b"traceparent"
_TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-")
_DEADLINE_MS = HEADER_DEADLINE_MS.encode("ascii")
_MAX_QUEUED_PAIRS = HEADER_MAX_QUEUED_PAIRS.encode("ascii")
_ALONE = HEADER_ALONE.encode("ascii")
_MIRROR = HEADER_MIRROR.encode("ascii")

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


class BadRequest(ValueError):
    """The request is not one this worker can score; the message names the field."""


def read_job(request: Request, number: int, now: float) -> Job:
    """Make a job of a request to score or to probe.

    Raises:
        BadRequest: the body or a header is not as the contract has it.
    """
    if request.path == PROBE_PATH:
        query, docs = PROBE_QUERY, list(PROBE_DOCS)
    else:
        query, docs = _read_body(request.body)
    headers = request.headers
    return Job(
        number,
        query,
        docs,
        now,
        _read_deadline(headers.get(_DEADLINE_MS), now),
        headers.get(_ALONE) == b"1",
        headers.get(HEADER_REQUEST_ID, b"").decode("latin-1"),
        trace_id=_trace_id(headers.get(_TRACEPARENT, b"")),
        max_queued_pairs=_read_bound(headers.get(_MAX_QUEUED_PAIRS)),
        is_copy=headers.get(_MIRROR) == b"1",
    )


def scored_answer(scored: Scored, now: float) -> Answer:
    """Write the scores; what is neither tokenizing nor inference was waiting."""
    total_s = now - scored.job.accepted_at
    queue_s = max(0.0, total_s - scored.tokenize_s - scored.inference_s)
    body = {
        "raw": scored.raw,
        "unit": scored.unit,
        "tokens": scored.tokens,
        "truncated": scored.truncated,
        "queue_ms": round(queue_s * 1000, 3),
        "tokenize_ms": round(scored.tokenize_s * 1000, 3),
        "inference_ms": round(scored.inference_s * 1000, 3),
    }
    if scored.won is not None:
        body["windows"] = [
            (won.span.start, won.span.end, won.number, won.count) for won in scored.won
        ]
    return Answer(HTTPStatus.OK, _encode(body).encode("ascii"))


def error_answer(status: int, code: str, message: str, retry_after_s: int | None = None) -> Answer:
    """Write an error."""
    headers = () if retry_after_s is None else (("retry-after", str(retry_after_s)),)
    body = _encode({"code": code, "message": message}).encode("ascii")
    return Answer(status, body, headers)


def health_answer(is_draining: bool, facts: Mapping[str, str]) -> Answer:
    """Write the worker's state and what is known of its model."""
    state = "draining" if is_draining else "running"
    body = _encode({"state": state, "info": dict(facts)}).encode("ascii")
    return Answer(HTTPStatus.OK, body)


def bad_request(message: str, status: int = HTTPStatus.BAD_REQUEST) -> Answer:
    """Write that a request is not valid."""
    return error_answer(status, CODE_BAD_REQUEST, message)


def _read_body(body: bytes) -> tuple[str, list[str]]:
    try:
        text = body.decode("utf-8")
        value = json.loads(text)
    except UnicodeDecodeError as error:
        raise BadRequest("the body is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not JSON") from error
    if not isinstance(value, dict):
        raise BadRequest("the body must be an object")
    query, docs = value.get("query"), value.get("docs")
    if not isinstance(query, str):
        raise BadRequest("query must be a string")
    if not isinstance(docs, list) or not all(type(doc) is str for doc in docs):
        raise BadRequest("docs must be a list of strings")
    # Only an escape can bring in half of a surrogate pair, which no tokenizer can encode.
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(query, docs)
    return query, docs


def _refuse_surrogates(query: str, docs: list[str]) -> None:
    for name, text in [("query", query), *((f"docs[{i}]", doc) for i, doc in enumerate(docs))]:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadRequest(f"{name} holds half of a surrogate pair") from error


def _trace_id(parent: bytes) -> str:
    found = _TRACE.match(parent)
    return "" if found is None else found[1].decode("ascii")


def _read_bound(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit():
        raise BadRequest(f"{HEADER_MAX_QUEUED_PAIRS} must be a number of pairs")
    return int(value)


def _read_deadline(value: bytes | None, now: float) -> float | None:
    if value is None:
        return None
    try:
        remaining_ms = float(value)
    except ValueError:
        remaining_ms = math.nan
    if not math.isfinite(remaining_ms):
        raise BadRequest(f"{HEADER_DEADLINE_MS} must be a number of milliseconds")
    return now + remaining_ms / 1000
