"""The whole description: of the server, or of one version's endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rerank_server import __version__
from rerank_server.core.access import PAGES as CHOSEN
from rerank_server.core.cascade import described
from rerank_server.core.traffic import Stage
from rerank_server.gateway.openapi import failures, headers, pages
from rerank_server.gateway.openapi.answers import ANSWERS, ERRORS
from rerank_server.gateway.openapi.requests import Bounds, requests
from rerank_server.gateway.openapi.words import Json, ref
from rerank_server.gateway.paths import FOREIGN, PAGES, SCORE_PATH, Page

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Version:
    """A version as the description names it."""

    name: str
    endpoint: str
    description: str
    stages: Sequence[Stage] = ()
    """Of a cascade."""


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
    protected: Sequence[str] = CHOSEN
    """Of the pages of which the config may choose it, those that need one, too."""


def of_server(api: Api) -> Json:
    """Return the description of the whole server."""
    paths: Json = {path: _item(api, path, page, "", api.default) for path, page in PAGES.items()}
    paths |= {path: _own(api, path) for path in pages.OWN}
    paths["/v1/models/{model}"] = _model(api, "")
    for version in api.versions:
        above = version.endpoint
        paths[above] = _item(api, above, Page.SCORE, "", version.name)
        paths[f"{above}/health"] = _health(api, above)
    paths[f"{SCORE_PATH}/health"] = _health(api, SCORE_PATH)
    about = (
        "Reranker versions side by side. A request scores documents for a query; which version "
        "answers is said by the path, else the header X-Rerank-Version, else `model` in the body, "
        "else it is the default. Every path of score requests is also served behind each "
        "version's endpoint. The body may be in the format of any of the usual rerank services."
    )
    return _document(api, "rerank-server", about, paths)


def of_version(api: Api, version: Version) -> Json:
    """Return the description of one version: its endpoint, and all that is behind it."""
    above = version.endpoint
    paths: Json = {above: _item(api, above, Page.SCORE, above, version.name)}
    for path, page in PAGES.items():
        paths[above + path] = _item(api, above + path, page, above, version.name)
    paths[f"{above}/v1/models/{{model}}"] = _model(api, above)
    paths[f"{above}/health"] = _health(api, above)
    about = version.description or f"The reranker version {version.name}."
    if version.stages:
        about = f"{about} {_cascade(version.name, version.stages)}"
    return _document(api, f"rerank-server: {version.name}", about, paths)


def _document(api: Api, title: str, about: str, paths: Json) -> Json:
    components: Json = {
        "schemas": {
            **requests(Bounds(api.max_docs, api.max_chars)),
            **ANSWERS,
            **ERRORS,
            **pages.PAGES,
        },
        "responses": failures.responses(),
        "headers": headers.HEADERS,
        "parameters": headers.PARAMETERS,
    }
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": __version__,
            "description": about,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": api.url}],
        "tags": [
            {"name": "score", "description": "Score documents for a query."},
            {"name": "pages", "description": "What there is, and how it is."},
        ],
        "paths": paths,
        "components": components,
    }
    if api.has_keys:
        components["securitySchemes"] = headers.SECURITY_SCHEMES
        document["security"] = headers.ANY_KEY
    return document


def _item(api: Api, path: str, page: Page, above: str, version: str) -> Json:
    if page in (Page.SCORE, Page.SCORE_OBJECT):
        return {"post": _score(path, page, above, version) | _stages(api, version)}
    operation = _get(path, *pages.ROUTED[page], is_foreign=page in FOREIGN)
    if page is Page.INFO:
        operation = _about_version(operation, takes_version=not above)
    chosen = {Page.OPENAPI: "/openapi.json", Page.DOCS: "/docs"}.get(page)
    if page in pages.OPEN_PAGES or (chosen is not None and chosen not in api.protected):
        operation |= _opened(api)
    return {"get": operation}


def _score(path: str, page: Page, above: str, version: str) -> Json:
    is_named = bool(above) or path not in PAGES
    by = f"by {version}" if is_named else f"by the default, {version}, unless another is named"
    return {
        "operationId": _id("score", path),
        "summary": f"Score documents for a query, {by}",
        "tags": ["score"],
        "parameters": headers.of_scores(is_named=is_named),
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": ref("ScoreRequest")}},
        },
        "responses": {
            "200": {
                "description": "The scores, in the format of the request.",
                "headers": headers.headers(*headers.SCORED),
                "content": {_JSON: {"schema": ref("ScoreResponse")}},
            },
            **failures.of_scores(is_foreign=page is Page.SCORE_OBJECT),
        },
    }


def _stages(api: Api, version: str) -> Json:
    """Return what is said where a cascade answers: of what it is made, stage after stage."""
    stages = next((each.stages for each in api.versions if each.name == version), ())
    return {"description": _cascade(version, stages)} if stages else {}


def _cascade(version: str, stages: Sequence[Stage]) -> str:
    return (
        f"{version} is a cascade: {described(stages)}. Each stage scores what the one before it "
        "let through, as many as the number behind that one says; a document that was pruned "
        "stays below all that went on."
    )


def _get(path: str, summary: str, kind: str, schema: Json, *, is_foreign: bool = False) -> Json:
    return {
        "operationId": _id("get", path),
        "summary": summary,
        "tags": ["pages"],
        "parameters": headers.of_pages(takes_version=False),
        "responses": {
            "200": {
                "description": summary,
                "headers": headers.headers("X-Request-ID"),
                "content": {kind: {"schema": schema}},
            },
            **failures.of_pages(is_foreign=is_foreign),
        },
    }


def _about_version(operation: Json, *, takes_version: bool) -> Json:
    """Return the operation of a page that says in its head which version it describes."""
    answers = operation["responses"]
    assert isinstance(answers, dict)
    said = headers.headers("X-Request-ID", "X-Rerank-Version", "X-Rerank-Fallback")
    good = {**answers["200"], "headers": said}
    return {
        **operation,
        "parameters": headers.of_pages(takes_version=takes_version),
        "responses": {**answers, "200": good},
    }


def _model(api: Api, above: str) -> Json:
    page = _get(f"{above}/v1/models/{{model}}", *pages.MODEL, is_foreign=True)
    operation = _about_version(page, takes_version=False)
    return _with_parameter(operation, "model", "path", "A version's name.")


def _health(api: Api, above: str) -> Json:
    operation = _get(f"{above}/health", *pages.VERSION_HEALTH) | _opened(api, is_optional=True)
    about = "`1` or `true`: each process must score fixed pairs right; takes the scope read."
    return _with_parameter(operation, "deep", "query", about)


def _own(api: Api, path: str) -> Json:
    operation = _get(path, *pages.OWN[path])
    if path in pages.OPEN_PATHS or path not in (*pages.OPEN_PATHS, *api.protected):
        operation |= _opened(api)
    if path == "/ready":
        about = "Whether this very version would answer; without, any for the default."
        return _with_parameter(operation, "version", "query", about)
    return {"get": operation}


def _with_parameter(operation: Json, name: str, where: str, about: str) -> Json:
    parameter: Json = {"name": name, "in": where, "description": about}
    parameter |= {"required": True} if where == "path" else {}
    parameter["schema"] = {"type": "string"}
    others = operation["parameters"]
    assert isinstance(others, list)
    return {"get": {**operation, "parameters": [parameter, *others]}}


def _opened(api: Api, *, is_optional: bool = False) -> Json:
    """Return what takes an operation out of the need for a key."""
    if not api.has_keys:
        return {}
    return {"security": [{}, *headers.ANY_KEY] if is_optional else []}


def _id(verb: str, path: str) -> str:
    return verb + "".join(c if c.isalnum() else "_" for c in path).rstrip("_")
