"""The description of the API is valid, true to what is served, and shown without a network."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from rerank_server.gateway.openapi.document import Api, Version, of_server, of_version
from rerank_server.gateway.paths import PAGES
from tests.gateway.fakes import route, table
from tests.gateway.harness import Gateway
from tests.gateway.test_dialect_shapes import MIXEDBREAD, NIM, PAIRS, SUPERSET, TEI, VOYAGE

API = Api(
    versions=[Version("v1", "/rerank/v1", "the first"), Version("v2", "/second", "")],
    default="v1",
    url="http://127.0.0.1:8000",
    max_docs=100,
    max_chars=1000,
    has_keys=False,
)
NATIVE: dict[str, object] = {"query": "q", "docs": ["aa", "bbb", "c"], "return_docs": True}
BODIES = [NATIVE, SUPERSET, TEI, VOYAGE, MIXEDBREAD, NIM, PAIRS, SUPERSET | {"top_n": None}]


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


@pytest.mark.parametrize("name", ["Native", "Documents", "Tei", "Pairs", "Voyage", "Nim"])
def test_examples_fit_their_schemas_and_are_answered(gateway: Gateway, name: str) -> None:
    document: Any = of_server(API)
    schema = document["components"]["schemas"][f"{name}Request"]

    for example in schema["examples"]:
        answer = gateway.post("/v1/rerank", example)
        assert validator(document, f"{name}Request").is_valid(example)
        assert validator(document, f"{name}Response").is_valid(answer.json())


def test_keys_are_described_where_they_are_needed() -> None:
    import dataclasses

    guarded = of_server(dataclasses.replace(API, has_keys=True))

    assert guarded["security"] == [{"bearer": []}, {"key": []}]
    assert "security" not in of_server(API)


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
