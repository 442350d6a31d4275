"""Reads a worker's answer: scores, or the error to pass on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from rerank_server.core import wire
from rerank_server.errors import (
    BadRequestError,
    DeadlineError,
    ModelError,
    OverloadedError,
    RerankServerError,
)
from rerank_server.gateway.connection import Answer
from rerank_server.gateway.dialect import Scores

_MAX_RETRY_AFTER_S = 3600
_MAX_MESSAGE = 500  # characters


def scores_of(answer: Answer, docs: int) -> Scores:
    """Return the scores of a request with that many documents.

    Raises:
        OverloadedError, DeadlineError, ModelError, BadRequestError: as the worker says.
        RerankServerError: the worker's answer makes no sense.
    """
    body = _object(answer.body)
    if answer.status != 200:
        raise _error(answer, body)
    raw, unit = _numbers(body, "raw", docs), _numbers(body, "unit", docs)
    tokens, truncated = body.get("tokens"), body.get("truncated")
    windows = body.get("windows")
    return Scores(
        raw=raw,
        unit=unit,
        tokens=tokens if isinstance(tokens, list) else [],
        truncated=truncated if isinstance(truncated, list) else [],
        windows=windows if isinstance(windows, list) and len(windows) == docs else (),
        stages=_names(body, "stages"),
        cascade=_names(body, "cascade"),
        passed=_passed(body),
        queue_ms=_number(body, "queue_ms"),
        tokenize_ms=_number(body, "tokenize_ms"),
        inference_ms=_number(body, "inference_ms"),
    )


def _error(answer: Answer, body: Mapping[str, object]) -> RerankServerError:
    message = body.get("message")
    text = message[:_MAX_MESSAGE] if isinstance(message, str) and message else None
    match body.get("code"):
        case wire.CODE_QUEUE_FULL:
            error = OverloadedError(text)
            wait = answer.retry_after or ""
            if wait.isascii() and wait.isdigit():
                error.retry_after_s = min(int(wait), _MAX_RETRY_AFTER_S)
            return error
        case wire.CODE_DEADLINE:
            return DeadlineError()
        case wire.CODE_MODEL_ERROR:
            return ModelError(text)
        case wire.CODE_BAD_REQUEST:
            return BadRequestError(text)
        case _:
            return RerankServerError(f"the worker answered with status {answer.status}")


def _object(content: bytes) -> Mapping[str, object]:
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        raise RerankServerError("the worker's answer is not a JSON object")
    return parsed


def _numbers(body: Mapping[str, object], key: str, count: int) -> list[float]:
    values = body.get(key)
    if not isinstance(values, list) or len(values) != count:
        raise RerankServerError(f"the worker's answer has no {key} score for each document")
    if not set(map(type, values)) <= {float, int}:
        raise ModelError(f"the model gave a {key} score that is no number")
    return values


def _names(body: Mapping[str, object], key: str) -> Sequence[str]:
    """Return the versions that a cascade names; a worker knows of none."""
    names = body.get(key)
    return names if isinstance(names, list) else ()


def _passed(body: Mapping[str, object]) -> Sequence[tuple[int, int]]:
    """Return what a cascade says of each of its stages: documents that came, and that went on."""
    pairs = body.get("passed")
    return [(got, left) for got, left in pairs] if isinstance(pairs, list) else ()


def _number(body: Mapping[str, object], key: str) -> float:
    value = body.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
