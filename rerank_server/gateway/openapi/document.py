"""The whole description: of the server, or of one version's endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rerank_server import __version__
from rerank_server.gateway.openapi.answers import ANSWERS, ERRORS
from rerank_server.gateway.openapi.requests import Bounds, requests
from rerank_server.gateway.openapi.words import Json, ref
from rerank_server.gateway.paths import PAGES, Page

_REASONS = {
    400: "The body is not valid.",
    401: "The API key is missing or not valid.",
    403: "The API key does not allow this.",
    404: "Nothing is served at this path.",
    405: "The path does not take this method.",
    408: "The request did not arrive in time.",
    413: "The body is too large, or holds too many or too long documents.",
    415: "The body is not JSON, or compressed.",
    422: "The body is not valid (format of text-embeddings-inference only).",
    424: "The model failed (format of text-embeddings-inference only).",
    429: "Too much to do; Retry-After says when to come again.",
    500: "The model failed on this request, or the server did.",
    502: "Worker processes died while scoring the request.",
    503: "No version can answer now; Retry-After says when to come again.",
    504: "The deadline passed.",
}
_PAGE_ERRORS = (401, 403, 404, 405, 429, 500, 503)


@dataclass(frozen=True, slots=True)
class Version:
    """A version as the description names it."""

    name: str
    endpoint: str
    description: str


@dataclass(frozen=True, slots=True)
class Api:
    """What is described."""

    versions: Sequence[Version]
    """The enabled ones."""
    default: str
    url: str
    max_docs: int
    max_chars: int
    """Of one document, and of the query."""
    has_keys: bool
    """Whether requests must bring an API key."""


def of_server(api: Api) -> Json:
    """Return the description of the whole server."""
    paths: Json = {path: _item(path, page, "", api.default) for path, page in PAGES.items()}
    paths |= {path: _own(path, operation) for path, operation in _OWN_PAGES.items()}
    paths["/v1/models/{model}"] = _model("")
    for version in api.versions:
        paths[version.endpoint] = _item(version.endpoint, Page.SCORE, "", version.name)
    about = (
        "Reranker versions side by side. A request scores documents for a query; which version "
        "answers is said by the path, else the header X-Rerank-Version, else `model` in the body, "
        "else it is the default. Every path of score requests is also served behind each "
        "version's endpoint. The body may be in the format of any of the usual rerank services. "
        "X-Request-Timeout: seconds lowers the deadline of a request; traceparent is passed on."
    )
    return _document(api, "rerank-server", about, paths)


def of_version(api: Api, version: Version) -> Json:
    """Return the description of one version: its endpoint, and all that is behind it."""
    above = version.endpoint
    paths: Json = {above: _item(above, Page.SCORE, above, version.name)}
    paths |= {
        above + path: _item(above + path, page, above, version.name) for path, page in PAGES.items()
    }
    paths[f"{above}/v1/models/{{model}}"] = _model(above)
    about = version.description or f"The reranker version {version.name}."
    return _document(api, f"rerank-server: {version.name}", about, paths)


def _document(api: Api, title: str, about: str, paths: Json) -> Json:
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": __version__,
            "description": about,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": api.url}],
        "paths": paths,
        "components": {
            "schemas": {
                **requests(Bounds(api.max_docs, api.max_chars)),
                **ANSWERS,
                **ERRORS,
            },
            "responses": {str(status): _error(status) for status in _REASONS},
            "headers": _HEADERS,
            "parameters": _PARAMETERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }
    if api.has_keys:
        document["security"] = [{"bearer": []}, {"key": []}]
    return document


def _item(path: str, page: Page, above: str, version: str) -> Json:
    if page in (Page.SCORE, Page.SCORE_OBJECT):
        return {"post": _score(path, above, version)}
    summary, kind, schema = _PAGE_ANSWERS[page]
    return {"get": _get(path, summary, kind, schema)}


def _score(path: str, above: str, version: str) -> Json:
    is_named = bool(above) or path not in PAGES
    by = f"by {version}" if is_named else f"by the default, {version}, unless another is named"
    # A path that names a version goes before the header.
    taken = [name for name in _PARAMETERS if not (is_named and name == "X-Rerank-Version")]
    operation: Json = {
        "operationId": _id("score", path),
        "summary": f"Score documents for a query, {by}",
        "tags": ["score"],
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in taken],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref("ScoreRequest")}},
        },
        "responses": {
            "200": {
                "description": "The scores, in the format of the request.",
                "headers": {name: _header(name) for name in _HEADERS if name != "Retry-After"},
                "content": {"application/json": {"schema": ref("ScoreResponse")}},
            },
            **_failures(_REASONS),
        },
    }
    return operation


def _get(path: str, summary: str, kind: str, schema: Json) -> Json:
    return {
        "operationId": _id("get", path),
        "summary": summary,
        "tags": ["pages"],
        "responses": {
            "200": {
                "description": summary,
                "headers": {"X-Request-ID": _header("X-Request-ID")},
                "content": {kind: {"schema": schema}},
            },
            **_failures(_PAGE_ERRORS),
        },
    }


def _model(above: str) -> Json:
    path = f"{above}/v1/models/{{model}}"
    operation = _get(path, "One version, or the default for any other name", _JSON, _CARD)
    operation["parameters"] = [
        {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
    return {"get": operation}


def _own(path: str, said: tuple[str, str, Json]) -> Json:
    operation = _get(path, *said)
    if path == "/ready":
        query = {"name": "version", "in": "query", "schema": {"type": "string"}}
        operation["parameters"] = [query]
    return {"get": operation}


def _failures(statuses: Iterator[int] | Sequence[int] | Mapping[int, str]) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _error(status: int) -> Json:
    headers = {"X-Request-ID": _header("X-Request-ID")}
    if status in (429, 503):
        headers["Retry-After"] = _header("Retry-After")
    return {
        "description": _REASONS[status],
        "headers": headers,
        "content": {_JSON: {"schema": ref("Error")}},
    }


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _id(verb: str, path: str) -> str:
    return verb + "".join(c if c.isalnum() else "_" for c in path).rstrip("_")


_JSON = "application/json"
_OBJECT: Json = {"type": "object"}
_CARD: Json = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "model_type": {"const": "rerank"}},
    "required": ["id", "model_type"],
}
_PAGE_ANSWERS: dict[Page, tuple[str, str, Json]] = {
    Page.INFO: ("A version, as text-embeddings-inference describes it", _JSON, _OBJECT),
    Page.MODELS: ("The enabled versions", _JSON, _OBJECT),
    Page.AUTH: ("Whether a key is needed, for Xinference's clients", _JSON, _OBJECT),
    Page.OPENAPI: ("This description", _JSON, _OBJECT),
    Page.DOCS: ("This description, for people", "text/html", {"type": "string"}),
}
_OWN_PAGES: dict[str, tuple[str, str, Json]] = {
    "/health": ("Whether the gateway answers", _JSON, _OBJECT),
    "/ready": ("Whether a score request would be answered", _JSON, _OBJECT),
    "/versions": ("Every configured version", _JSON, _OBJECT),
    "/metrics": ("Metrics for Prometheus", "text/plain", {"type": "string"}),
}
_HEADERS: Json = {
    "X-Request-ID": {
        "description": "The client's own if it sent a sane one, else a new one.",
        "schema": {"type": "string"},
    },
    "X-Rerank-Version": {
        "description": "The version that answered.",
        "schema": {"type": "string"},
    },
    "X-Rerank-Fallback": {
        "description": "Set when that is not the one asked for: `asked; reason=why`.",
        "schema": {"type": "string"},
    },
    "Server-Timing": {
        "description": "Milliseconds of queueing, tokenising, inference, and in all.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "integer"},
    },
}
_PARAMETERS: Json = {
    "X-Rerank-Version": {
        "name": "X-Rerank-Version",
        "in": "header",
        "description": "A version's name; the path goes before it. Any other name: the default.",
        "schema": {"type": "string"},
    },
    "X-Rerank-Strict": {
        "name": "X-Rerank-Strict",
        "in": "header",
        "description": "1 asks for 503 instead of any other version than the one named.",
        "schema": {"type": "string"},
    },
    "X-Request-ID": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "Sent back, and found in the logs.",
        "schema": {"type": "string"},
    },
}
