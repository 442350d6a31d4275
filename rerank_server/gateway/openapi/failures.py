"""The answers that hold no scores: which statuses, in which format, with which headers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rerank_server.gateway.openapi.headers import headers
from rerank_server.gateway.openapi.words import Json, ref

_JSON = "application/json"
_ID = "6b1580ea00b6-2"


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a status means, and an error that has it."""

    about: str
    code: str
    message: str
    field: str | None = None


_FAILURES: dict[int, _Failure] = {
    400: _Failure(
        "The body or a header is not valid.",
        "invalid_request",
        "query is empty; send at least one character",
        "query",
    ),
    401: _Failure(
        "The API key is missing or not valid.",
        "unauthorized",
        "an API key is needed; send it as Authorization: Bearer KEY or as X-API-Key: KEY",
    ),
    403: _Failure(
        "The API key does not allow this.",
        "forbidden",
        "the API key may not do this; it takes the scope score",
    ),
    404: _Failure(
        "Nothing is served at this path.",
        "not_found",
        "no version has this path; the nearest is v2-m3 at /rerank/v2-m3",
        "path",
    ),
    405: _Failure(
        "The path does not take this method.", "method_not_allowed", "this path takes POST"
    ),
    408: _Failure(
        "The request did not arrive in time.",
        "request_timeout",
        "the body did not arrive within 30 s",
    ),
    413: _Failure(
        "The body is too large, or (native format only) holds too many or too long documents.",
        "too_large",
        "the body is larger than the 33554432 bytes that are taken",
    ),
    415: _Failure(
        "The body is not JSON, or compressed.",
        "unsupported_media_type",
        "Send the body as application/json.",
    ),
    422: _Failure(
        "The body or a header is not valid (format of text-embeddings-inference only).",
        "invalid_request",
        "query is empty; send at least one character",
        "query",
    ),
    424: _Failure(
        "The model failed (format of text-embeddings-inference only).",
        "model_error",
        "The model failed on this request.",
    ),
    429: _Failure(
        "Too much to do; Retry-After says when to come again.",
        "overloaded",
        "The queue is full; try again shortly.",
    ),
    500: _Failure(
        "The model failed on this request, or the server did.",
        "model_error",
        "The model failed on this request.",
    ),
    502: _Failure(
        "Worker processes died while scoring the request.",
        "worker_lost",
        "The worker process died while scoring this request, twice.",
    ),
    503: _Failure(
        "No version can answer now; Retry-After says when to come again.",
        "unavailable",
        "version v2-m3 cannot answer now (starting), nor can any fallback",
    ),
    504: _Failure(
        "The deadline passed.",
        "deadline_exceeded",
        "The request's deadline passed before its scores were ready.",
    ),
}

_BY_PATH = (401, 403, 404, 405, 415)
"""Known before the body is, so that the path decides in which format they are."""
_TEI_ONLY = (422, 424)
_MORE_HEADERS = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_DECIDED = (400, 413, 422, 424, 429, 500, 502, 503, 504)
"""Of score requests, possibly after the split had chosen a version."""
_PAGES = (401, 403, 404, 405, 429, 500, 503)
_TEI_TYPES = {400: "empty", 413: "validation", 422: "validation", 429: "overloaded"}
_TEI_TYPES[503] = "unhealthy"


def responses() -> Json:
    """Return the components: by status, with `Native` or `Object` behind it where paths differ."""
    found: Json = {}
    for status in _FAILURES:
        if status in _BY_PATH or status in _PAGES:
            found[f"{status}Object"] = _response(status, "ObjectError")
            found[f"{status}Native"] = _response(status, "NativeError")
        if status in _TEI_ONLY:
            found[str(status)] = _response(status, "TeiError")
        elif status not in _BY_PATH:
            found[str(status)] = _response(status, "Error")
    return found


def of_scores(*, is_foreign: bool) -> Json:
    """Return the failures of a score path; `is_foreign`: one that other services have, too."""
    by_path = "Object" if is_foreign else "Native"
    return _refer((status, by_path if status in _BY_PATH else "") for status in _FAILURES)


def of_pages(*, is_foreign: bool) -> Json:
    """Return the failures of a page; `is_foreign`: one that other services have, too."""
    by_path = "Object" if is_foreign else "Native"
    return _refer((status, by_path) for status in _PAGES)


def _refer(named: Iterable[tuple[int, str]]) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{status}{end}"} for status, end in named}


def _response(status: int, schema: str) -> Json:
    examples = {
        name: {"value": value}
        for name, shape, value in _examples(status)
        if schema in (shape, "Error")
    }
    is_decided = status in _DECIDED and schema in ("Error", "TeiError")
    split = ("X-Rerank-Traffic",) if is_decided else ()
    return {
        "description": _FAILURES[status].about,
        "headers": headers("X-Request-ID", *_MORE_HEADERS.get(status, ()), *split),
        "content": {_JSON: {"schema": ref(schema), "examples": examples}},
    }


def _examples(status: int) -> Iterable[tuple[str, str, Json]]:
    """Yield name, schema and value of an example in each format that can have the status."""
    failure = _FAILURES[status]
    message, field = failure.message, failure.field
    if status not in _TEI_ONLY:
        error: Json = {"code": failure.code, "message": message}
        error |= {} if field is None else {"field": field}
        yield "native", "NativeError", {"error": error, "request_id": _ID}
        shape = {"message": message, "type": failure.code, "param": field, "code": status}
        value: Json = {"error": shape, "message": message, "detail": message, "id": _ID}
        yield "documents", "ObjectError", value
    if status not in _BY_PATH:
        said = "texts is empty; send at least one" if status == 400 else message
        kind = _TEI_TYPES.get(status, "backend")
        yield "texts", "TeiError", {"error": said, "error_type": kind}
