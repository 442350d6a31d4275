"""Errors of limits name the text by the key that the body used, in each wire format."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.limits import VersionLimits
from tests.gateway.dialect_samples import MIXEDBREAD, NIM, PAIRS, SUPERSET, TEI, VOYAGE, Body
from tests.gateway.fakes import route, table
from tests.gateway.harness import Gateway


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"query": "q", "docs": ["a", "long"]}, "docs[1]"),
        ({"query": "long", "docs": ["a"]}, "query"),
        (SUPERSET | {"documents": ["a", "long"]}, "documents[1]"),
        (SUPERSET | {"query": "long"}, "query"),
        (SUPERSET | {"documents": ["a", "long"], "max_tokens_per_doc": 9}, "documents[1]"),
        (TEI | {"texts": ["long"]}, "texts[0]"),
        (VOYAGE | {"documents": ["long"]}, "documents[0]"),
        (MIXEDBREAD | {"input": ["long"]}, "input[0]"),
        (NIM | {"passages": [{"text": "long"}]}, "passages[0]"),
        (NIM | {"query": {"text": "long"}}, "query.text"),
        (NIM | {"query": "long"}, "query"),
        (PAIRS | {"queries": "long"}, "queries"),
        ({"queries": ["q", "long"], "documents": ["a", "b"]}, "queries[1]"),
        ({"text_1": "q", "text_2": "long"}, "text_2"),
        ({"text_1": "q", "text_2": ["a", "long"]}, "text_2[1]"),
        ({"input": {"query": "q", "documents": ["long"]}}, "input.documents[0]"),
        ({"input": {"query": "long", "documents": ["a"]}}, "input.query"),
    ],
)
def test_a_text_that_is_too_long_is_named_by_the_body_s_own_key(
    gateway: Gateway, body: Body, field: str
) -> None:
    gateway.show(table(replace(route("v1", "v1.1"), limits=VersionLimits(max_doc_chars=3))))

    answer = gateway.post("/rerank", body)

    assert answer.status_code in (400, 413, 422)
    assert f"{field} has 4 characters; at most 3 are taken" in answer.text
    if "docs" in body:
        assert answer.json()["error"]["field"] == field


def test_too_many_documents_for_a_version_are_named_by_the_body_s_own_key(
    gateway: Gateway,
) -> None:
    gateway.show(table(replace(route("v1", "v1.1"), limits=VersionLimits(max_docs=1))))

    answer = gateway.post("/rerank", SUPERSET | {"documents": ["a", "b"]})

    assert answer.json()["error"]["param"] == "documents"
    assert answer.json()["message"] == "documents has 2 entries; 1 are taken at a time"
