"""What requests may say in their heads, what answers say in theirs, and how keys are sent."""

from __future__ import annotations

from collections.abc import Sequence

from rerank_server.gateway.openapi.words import Json

HEADERS: dict[str, Json] = {
    "X-Request-ID": {
        "description": "The client's own if it sent a sane one, else a new one; also in the logs.",
        "required": True,
        "schema": {"type": "string"},
        "example": "6b1580ea00b6-2",
    },
    "X-Rerank-Version": {
        "description": "The version that answered.",
        "required": True,
        "schema": {"type": "string"},
    },
    "X-Rerank-Fallback": {
        "description": "Set when that is not the one asked for: `asked; reason=why`.",
        "schema": {"type": "string"},
        "example": "unknown; reason=unknown_version",
    },
    "X-Rerank-Degraded": {
        "description": "Set when the version runs on the CPU for want of a GPU: why.",
        "schema": {"type": "string"},
        "example": "gpu_memory",
    },
    "X-Rerank-Traffic": {
        "description": "Set where the server splits the requests that name no version: the version "
        "this one belongs to, its share in percent, whether the key or the request decided, and "
        "who set the share.",
        "schema": {"type": "string"},
        "example": "v2-gemma; share=5; by=key; source=config",
    },
    "X-Rerank-Cascade": {
        "description": "Set when a cascade answered: each stage that had something to do, and how "
        "many documents reached it and went on.",
        "schema": {"type": "string"},
        "example": "v1-bge-small:200>20; v2-minilm:20",
    },
    "Server-Timing": {
        "description": "Milliseconds of queueing, tokenising, inference, and in all.",
        "required": True,
        "schema": {"type": "string"},
        "example": "queue;dur=0.600, tokenize;dur=0.400, inference;dur=14.200, total;dur=15.900",
    },
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
    "WWW-Authenticate": {
        "description": "How to send a key.",
        "required": True,
        "schema": {"const": "Bearer"},
    },
    "Allow": {
        "description": "The methods the path takes.",
        "required": True,
        "schema": {"type": "string"},
        "example": "POST",
    },
}
"""Of answers, by name. `required`: the answers that list it always have it."""

SCORED = (
    *("X-Request-ID", "X-Rerank-Version", "X-Rerank-Fallback", "X-Rerank-Degraded"),
    *("X-Rerank-Traffic", "X-Rerank-Cascade", "Server-Timing"),
)
"""Those of an answer with scores."""

VERSION = "X-Rerank-Version"
_KEY = "X-Rerank-Key"
_REQUEST_ID = "X-Request-ID"
_TRACEPARENT = "traceparent"


def _parameter(name: str, description: str, schema: Json, **more: object) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": schema, **more}


_STRING: Json = {"type": "string"}
PARAMETERS: dict[str, Json] = {
    VERSION: _parameter(
        VERSION, "A version's name; the path goes before it. Any other name: the default.", _STRING
    ),
    "X-Rerank-Strict": _parameter(
        "X-Rerank-Strict",
        "`1` or `true`, in any case, asks for 503 instead of any version but the one named.",
        _STRING,
    ),
    _KEY: _parameter(
        _KEY,
        "Who asks, in any words, such as a user's id: where the server splits the requests that "
        "name no version, one key always gets one version. Hashed, never kept.",
        _STRING,
    ),
    "X-Rerank-Mirror": _parameter(
        "X-Rerank-Mirror",
        "`never` keeps the request from being copied, where the server mirrors requests to another "
        "version: for those that measure it. Other words mean nothing.",
        _STRING,
        example="never",
    ),
    "X-Request-Timeout": _parameter(
        "X-Request-Timeout",
        "Seconds the request may take, from its head to its answer; then it is answered with 504. "
        "The server's own deadline holds where it is sooner.",
        {"type": "number", "exclusiveMinimum": 0},
        example=10,
    ),
    _REQUEST_ID: _parameter(
        _REQUEST_ID,
        "Sent back, and found in the logs, if it is printable ASCII of at most 128 characters.",
        _STRING,
    ),
    _TRACEPARENT: _parameter(
        _TRACEPARENT,
        "W3C trace context: goes on to the worker, and its trace id into the logs; `tracestate` "
        "goes with it. What is not well-formed is ignored.",
        _STRING,
        example="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
}
"""Of requests, by name."""
_OF_PAGES = (_REQUEST_ID, _TRACEPARENT)

SECURITY_SCHEMES: dict[str, Json] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of this server, as `Authorization: Bearer KEY`; `Authorization: "
        "KEY` is taken, too. A key has the scopes score, read or both: what scores takes score, "
        "/info and /v1/models take either, the other pages read.",
    },
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key in a header of its own; it goes before Authorization.",
    },
}
ANY_KEY: list[Json] = [{"bearer": []}, {"key": []}]
"""Either of them."""


def parameters(names: Sequence[str]) -> list[Json]:
    """Return references to these parameters."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def of_scores(*, is_named: bool) -> list[Json]:
    """Return the parameters of score requests. A path that names a version goes before all."""
    return parameters([name for name in PARAMETERS if not (is_named and name in (VERSION, _KEY))])


def of_pages(*, takes_version: bool) -> list[Json]:
    """Return the parameters of pages."""
    return parameters([*((VERSION,) if takes_version else ()), *_OF_PAGES])


def headers(*names: str) -> Json:
    """Return references to these headers of an answer."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
