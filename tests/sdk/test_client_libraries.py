"""Client libraries as they come from PyPI, against the running server: only the URL is changed."""

from __future__ import annotations

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.process, pytest.mark.env, pytest.mark.timeout(900)]

COHERE = ["cohere==7.3.1"]
LITELLM = ["litellm==1.106.2"]
LANGCHAIN = ["langchain-cohere==0.6.0"]
V2_M3 = [0.9, 0.899, 0.898]


def test_coheres_client_of_both_versions_gets_what_it_reads(run: Run) -> None:
    said = run("with_cohere", COHERE)

    assert said["one"] == [[0, 0.5, "Paris"], [1, 0.499, "Rome"]]
    assert said["one_meta"] == "2"
    assert said["fields"] == said["two"] == [[0, 0.9], [1, 0.899], [2, 0.898]]
    assert said["two_id"]
    assert said["two_units"] == 1
    assert said["two_tokens"] is not None
    assert said["later"] == 0
    assert said["refused"][0] == 400
    assert "50" in said["refused"][1]
    assert said["empty"] == [400, "query is empty; send at least one character"]


def test_coheres_client_may_have_one_versions_endpoint_as_its_url(run: Run) -> None:
    said = run("with_cohere", COHERE, "/rerank/v2-m3")

    assert said["one"] == [[0, 0.9, "Paris"], [1, 0.899, "Rome"]]


def test_litellm_gets_what_it_reads_with_every_provider(run: Run) -> None:
    said = run("with_litellm", LITELLM)

    two = [[0, 0.9, "Paris"], [1, 0.899, "Rome"]]
    assert said["cohere"] == said["hosted_vllm"] == said["jina_ai"] == two
    assert said["infinity"] == [[0, 0.9, None], [1, 0.899, None]]
    # That format has neither a model nor a top_n: the default answers, with every text.
    assert said["huggingface"] == [[0, 0.5, "Paris"], [1, 0.499, "Rome"], [2, 0.498, "Oslo"]]
    assert [entry[:2] for entry in said["voyage"]] == [entry[:2] for entry in two]
    assert said["refused"] == [400, True]


def test_langchains_cohere_reranker_works_with_a_base_url(run: Run) -> None:
    said = run("with_langchain", LANGCHAIN)

    assert said["kept"] == [["a", 0, 0.9], ["b", 1, 0.899]]
    assert said["ranked"] == [
        {"index": 0, "relevance_score": 0.9},
        {"index": 1, "relevance_score": 0.899},
    ]
    assert said["empty"] == []
