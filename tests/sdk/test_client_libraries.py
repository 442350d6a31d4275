"""Client libraries as they come from PyPI, against the running server: only the URL is changed."""

from __future__ import annotations

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.process, pytest.mark.env, pytest.mark.timeout(900)]

COHERE = ["cohere==7.3.1"]
LITELLM = ["litellm==1.106.2"]
LANGCHAIN = ["langchain-cohere==0.6.0"]
SERVICES = [
    "infinity-client==0.0.78",
    "xinference-client==4.1.0",
    "voyageai==0.5.0",
    "pinecone==10.2.0",
]
LLAMA_INDEX = [
    "llama-index-core==0.14.25",
    "llama-index-postprocessor-tei-rerank==0.6.0",
    "llama-index-postprocessor-jinaai-rerank==0.6.0",
    "llama-index-postprocessor-xinference-rerank==0.5.0",
]
HAYSTACK = [
    "haystack-ai==3.4.0",
    "huggingface-api-haystack==3.1.0",
    "vllm-haystack==3.0.1",
    "jina-haystack==2.0.1",
]
TWO = [[0, 0.9, "Paris"], [1, 0.899, "Rome"]]


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

    assert said["cohere"] == said["hosted_vllm"] == said["jina_ai"] == TWO
    assert said["nvidia_nim"] == said["together_ai"] == said["dashscope"] == TWO
    assert said["infinity"] == [[0, 0.9, None], [1, 0.899, None]]
    # That format has neither a model nor a top_n: the default answers, with every text.
    assert said["huggingface"] == [[0, 0.5, "Paris"], [1, 0.499, "Rome"], [2, 0.498, "Oslo"]]
    assert [entry[:2] for entry in said["voyage"]] == [entry[:2] for entry in TWO]
    assert said["refused"] == [400, True]


def test_langchains_cohere_reranker_works_with_a_base_url(run: Run) -> None:
    said = run("with_langchain", LANGCHAIN)

    assert said["kept"] == [["a", 0, 0.9], ["b", 1, 0.899]]
    assert said["ranked"] == [
        {"index": 0, "relevance_score": 0.9},
        {"index": 1, "relevance_score": 0.899},
    ]
    assert said["empty"] == []


def test_infinitys_client_takes_the_answer_for_one_of_its_own(run: Run) -> None:
    said = run("with_infinity", SERVICES, shared="services")

    assert said["ranked"] == [[0, 0.9], [1, 0.899]]
    assert said["object"] == "rerank"
    assert said["tokens"] is not None
    assert said["plain"] == [[0, 0.5], [1, 0.499], [2, 0.498]]
    assert said["refused"] == 400


def test_xinferences_client_finds_a_reranker_behind_any_name(run: Run) -> None:
    said = run("with_xinference", SERVICES, shared="services")

    assert said["model"] == "RESTfulRerankModelHandle"
    assert set(said["models"]) == {"v1", "v2-m3"}
    assert said["ranked"] == TWO
    assert said["tokens"] is not None
    assert said["other"] == [[0, 0.5], [1, 0.499], [2, 0.498]]
    assert said["later"] == 0
    assert "query is empty" in said["refused"]


def test_voyages_client_gets_what_it_reads(run: Run) -> None:
    said = run("with_voyage", SERVICES, shared="services")

    assert said["ranked"] == TWO
    assert said["tokens"] is not None
    assert said["later"] == 3
    assert "query is empty" in said["refused"]


def test_pinecones_client_gets_its_documents_back(run: Run) -> None:
    said = run("with_pinecone", SERVICES, shared="services")

    assert said["texts"] == TWO
    assert said["objects"] == [[0.5, "a"], [0.499, "b"]]
    assert said["units"] == 1


def test_llama_indexes_rerankers_keep_the_best_nodes(run: Run) -> None:
    said = run("with_llama_index", LLAMA_INDEX)

    assert said["tei"] == [["Paris", 0.5], ["Rome", 0.499]]
    assert said["jina"] == said["xinference"] == [["Paris", 0.9], ["Rome", 0.899]]


def test_haystacks_rankers_keep_the_best_documents(run: Run) -> None:
    said = run("with_haystack", HAYSTACK)

    assert said["tei"] == [["Paris", 0.5], ["Rome", 0.499]]
    assert said["vllm"] == said["jina"] == [["Paris", 0.9], ["Rome", 0.899]]
    assert said["refused"] is True
