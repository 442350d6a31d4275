"""The description of the API is valid, true to what is served, and shown without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from rerank_server.core.access import Access, ApiKey, digest_of
from rerank_server.core.routing import FallbackReason
from rerank_server.gateway.dialect import Dialect
from rerank_server.gateway.dialects.superset import SUPERSET as OBJECT
from rerank_server.gateway.dialects.tei import TEI as ARRAY
from rerank_server.gateway.dialects.tei import NoTextsError
from rerank_server.gateway.native import NATIVE as OWN
from rerank_server.gateway.openapi.document import Api, Version, of_server, of_version
from rerank_server.gateway.paths import PAGES
from tests.gateway.dialect_samples import DASHSCOPE, MIXEDBREAD, NIM, PAIRS, SUPERSET, TEI, VOYAGE
from tests.gateway.fakes import route, table
from tests.gateway.fleet_state import STATE, publish_state
from tests.gateway.harness import Gateway
from tests.gateway.test_dialect_fuzz import KINDS as ERRORS

API = Api(
    versions=[Version("v1", "/rerank/v1", "the first"), Version("v2", "/second", "")],
    default="v1",
    url="http://127.0.0.1:8000",
    max_docs=100,
    max_chars=1000,
    has_keys=False,
)
NATIVE: dict[str, object] = {"query": "q", "docs": ["aa", "bbb", "c"], "return_docs": True}
V1 = API.versions[0]
DIALECTS: dict[str, Dialect] = {"native": OWN, "documents": OBJECT, "texts": ARRAY}
KINDS = (*ERRORS, NoTextsError)
BODIES = [NATIVE, SUPERSET, TEI, VOYAGE, MIXEDBREAD, NIM, PAIRS, DASHSCOPE]
BODIES += [SUPERSET | {"top_n": None}, {"query": "q", "documents": ["a", "b"]}]
FORMS = ("Native", "Documents", "Tei", "Pairs", "Voyage", "Mixedbread", "Nim", "Dashscope")


def validator(document: Any, name: str) -> Draft202012Validator:
    """Return what checks a value against one of the document's schemas."""
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    )


@pytest.mark.parametrize("document", [of_server(API), of_version(API, API.versions[1])])
def test_the_description_is_valid_openapi(document: Any) -> None:
    validate(document)

    operations = [each for item in document["paths"].values() for each in item.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)


@pytest.mark.parametrize("path", ["/openapi.json", "/second/openapi.json"])
def test_every_described_path_is_served(gateway: Gateway, path: str) -> None:
    gateway.show(table(route("v1", "v1.1"), route("v2", "v2.1", endpoint="/second")))

    document = gateway.get(path).json()

    validate(document)
    assert document["paths"].keys() >= {path, path.removesuffix("/openapi.json") + "/v1/rerank"}
    for described, item in document["paths"].items():
        for method in item:
            served = gateway.ask(
                method.upper(),
                described.replace("{model}", "x"),
                content=b'{"query":"q","docs":[]}',
            )
            assert served.status_code == 200, described


def test_below_an_endpoint_only_that_version_is_described(gateway: Gateway) -> None:
    gateway.show(table(route("v1", "v1.1"), route("v2", "v2.1", endpoint="/second")))

    server = gateway.get("/openapi.json").json()
    version = gateway.get("/second/openapi.json").json()

    assert {"/rerank/v1", "/second", *PAGES} <= server["paths"].keys()
    assert all(path.startswith("/second") for path in version["paths"])
    assert version["info"]["description"] == "about v2"


def test_a_newer_table_makes_a_newer_description(gateway: Gateway) -> None:
    before = gateway.get("/openapi.json").json()
    gateway.show(table(route("v3", "v3.1")))

    after = gateway.get("/openapi.json").json()

    assert ("/rerank/v1" in before["paths"], "/rerank/v1" in after["paths"]) == (True, False)


@pytest.mark.parametrize("body", BODIES)
def test_requests_answers_and_errors_fit_the_schemas(
    gateway: Gateway, body: dict[str, object]
) -> None:
    document = of_server(API)
    good = gateway.post("/rerank", body)
    bad = gateway.post("/rerank", body | {"model": 3})

    assert validator(document, "ScoreRequest").is_valid(body)
    assert not validator(document, "ScoreRequest").is_valid(body | {"model": 3})
    assert validator(document, "ScoreResponse").is_valid(good.json())
    assert validator(document, "Error").is_valid(bad.json())


def test_pinecones_clients_are_answered_as_described(gateway: Gateway) -> None:
    sent = {"content-type": "application/json", "x-pinecone-api-version": "2025-10"}

    good = gateway.post("/rerank", SUPERSET, headers=sent)
    bad = gateway.post("/rerank", SUPERSET | {"query": 3}, headers=sent)

    assert validator(of_server(API), "PineconeResponse").is_valid(good.json())
    assert validator(of_server(API), "ObjectError").is_valid(bad.json())


@pytest.mark.parametrize("name", FORMS)
def test_examples_fit_their_schemas_and_are_answered(gateway: Gateway, name: str) -> None:
    document: Any = of_server(API)
    schema = document["components"]["schemas"][f"{name}Request"]

    for example in schema["examples"]:
        answer = gateway.post("/v1/rerank", example)
        assert validator(document, f"{name}Request").is_valid(example)
        assert validator(document, f"{name}Response").is_valid(answer.json())


@pytest.mark.parametrize("described", [of_server, lambda api: of_version(api, API.versions[1])])
def test_keys_are_described_where_they_are_needed(described: Callable[[Api], Any]) -> None:
    guarded = described(replace(API, has_keys=True))
    validate(guarded)

    schemes = guarded["components"]["securitySchemes"]
    assert (schemes["bearer"]["scheme"], schemes["key"]["name"]) == ("bearer", "X-API-Key")
    assert guarded["security"] == [{"bearer": []}, {"key": []}]
    assert "securitySchemes" not in described(API)["components"]
    assert "security" not in described(API)
    assert "security" not in json.dumps(described(API)["paths"])


def test_what_is_said_of_keys_is_what_the_server_asks(gateway: Gateway) -> None:
    access = Access((ApiKey(digest_of("k" * 16)),), protect=("/versions", "/docs"))
    gateway.show(replace(table(route("v1", "v1.1")), access=access))
    keys = {"X-API-Key": "k" * 16}
    document = gateway.ask("GET", "/openapi.json", headers=keys).json()

    for path, item in document["paths"].items():
        for method, operation in item.items():
            served = gateway.ask(method.upper(), path.replace("{model}", "x"), content=b"{}")
            security = operation.get("security", document["security"])
            assert (served.status_code == 401) == (bool(security) and {} not in security), path


def test_every_header_a_request_may_bring_is_described() -> None:
    document: Any = of_server(API)
    parameters = document["components"]["parameters"]

    assert set(parameters) == {
        *("X-Rerank-Version", "X-Rerank-Strict", "X-Request-Timeout", "X-Request-ID"),
        *("X-Rerank-Key", "X-Rerank-Mirror", "traceparent"),
    }
    assert all(each["in"] == "header" and each["description"] for each in parameters.values())
    named = {path: _names(document, path) for path in ("/rerank", "/rerank/v1", "/info")}
    assert named["/rerank"] == set(parameters)
    assert named["/rerank/v1"] == set(parameters) - {"X-Rerank-Version", "X-Rerank-Key"}
    assert named["/info"] == {"X-Rerank-Version", "X-Request-ID", "traceparent"}


def _names(document: Any, path: str) -> set[str]:
    (operation,) = document["paths"][path].values()
    return {each["$ref"].rpartition("/")[2] for each in operation["parameters"]}


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/rerank/v1", "/rerank/v1/score"])
def test_every_header_of_an_answer_is_described(gateway: Gateway, path: str) -> None:
    v1 = replace(route("v1", "v1.1"), degraded=FallbackReason.GPU_MEMORY)
    gateway.show(table(v1))
    headers = {"content-type": "application/json", "x-rerank-version": "v9"}

    answer = gateway.post(path, NATIVE, headers=headers)
    described: Any = of_server(API) if path in PAGES else of_version(API, V1)

    (operation,) = described["paths"][path].values()
    known = {name.lower() for name in operation["responses"]["200"]["headers"]}
    assert set(answer.headers) - {"content-type", "content-length"} <= known
    assert {"server-timing", "x-rerank-version", "x-rerank-degraded"} <= set(answer.headers)


def test_the_failures_have_their_headers_and_formats() -> None:
    document: Any = of_server(API)
    responses = document["components"]["responses"]
    by_status = {int(name[:3]): said for name, said in responses.items()}

    assert {s for s, said in by_status.items() if "Retry-After" in said["headers"]} == {429, 503}
    assert "WWW-Authenticate" in by_status[401]["headers"]
    assert "Allow" in by_status[405]["headers"]
    decided = {s for s, said in by_status.items() if "X-Rerank-Traffic" in said["headers"]}
    assert decided == {400, 413, 422, 424, 429, 500, 502, 503, 504}
    for status in (401, 403, 413, 429, 502, 503, 504):
        own = document["paths"]["/rerank"]["post"]["responses"][str(status)]["$ref"]
        foreign = document["paths"]["/v1/rerank"]["post"]["responses"][str(status)]["$ref"]
        schemas = [_schema_of(responses, each) for each in (own, foreign)]
        expected = ["NativeError", "ObjectError"] if status < 404 else ["Error", "Error"]
        assert schemas == expected, status


def _schema_of(responses: Any, reference: str) -> str:
    said = responses[reference.rpartition("/")[2]]["content"]["application/json"]["schema"]
    return str(said["$ref"].rpartition("/")[2])


def test_the_examples_of_failures_are_what_the_server_would_say() -> None:
    document: Any = of_server(API)

    for name, said in document["components"]["responses"].items():
        content = said["content"]["application/json"]
        schema = content["schema"]["$ref"].rpartition("/")[2]
        assert content["examples"], name
        for form, example in content["examples"].items():
            value, status = example["value"], int(name[:3])
            assert validator(document, schema).is_valid(value), name
            kinds = [k for k in KINDS if DIALECTS[form].render_error(k(), "x").status == status]
            codes = {_code(DIALECTS[form].render_error(k(), "x").body) for k in kinds}
            assert _code(json.dumps(value).encode()) in codes, (name, form)


def _code(body: bytes) -> object:
    said: Any = json.loads(body)
    error = said["error"]
    if "error_type" in said:
        return said["error_type"]
    return error.get("type", error["code"])


def test_examples_of_answers_fit_their_schemas() -> None:
    document: Any = of_server(API)
    schemas = document["components"]["schemas"]

    for reference in schemas["ScoreResponse"]["anyOf"]:
        name = reference["$ref"].rpartition("/")[2]
        for example in schemas[name]["examples"]:
            assert validator(document, name).is_valid(example), name


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/health", "Health"),
        ("/ready", "Ready"),
        ("/versions", "Versions"),
        ("/info", "Info"),
        ("/v1/models", "Models"),
        ("/v1/models/v1", "Model"),
        ("/v1/cluster/auth", "Auth"),
        ("/rerank/v1/health", "VersionHealth"),
    ],
)
@pytest.mark.parametrize("state", [None, STATE])
def test_pages_answer_as_described(gateway: Gateway, path: str, schema: str, state: object) -> None:
    if state is not None:
        publish_state(gateway.directory, state)

    said = gateway.get(path).json()

    validator(of_server(API), schema).validate(said)


class _Links(HTMLParser):
    """Collects what a page would fetch by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "img", "iframe", "link"):
            self.fetched += [value or "" for key, value in attrs if key in ("src", "href")]


@pytest.mark.parametrize("path", ["/docs", "/rerank/v1/docs"])
def test_the_page_needs_nothing_but_the_description(gateway: Gateway, path: str) -> None:
    answer = gateway.get(path)

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    links = _Links()
    links.feed(answer.text)
    assert links.fetched == []
    assert not re.search(r"https?://", answer.text)
    assert 'fetch("openapi.json"' in answer.text
