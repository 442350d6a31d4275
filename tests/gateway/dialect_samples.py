"""One request of each wire format."""

from __future__ import annotations

import orjson

from tests.gateway.harness import Gateway

DOCS = ["aa", "bbb", "c"]
Body = dict[str, object]
SUPERSET: Body = {"model": "rerank-english-v3.0", "query": "q", "documents": DOCS}
TEI: Body = {"query": "q", "texts": DOCS}
VOYAGE: Body = {"query": "q", "documents": DOCS, "model": "rerank-2", "top_k": 2}
MIXEDBREAD: Body = {"query": "q", "input": DOCS, "model": "mxbai"}
NIM: Body = {
    "model": "nv",
    "query": {"text": "q"},
    "passages": [{"text": doc} for doc in DOCS],
    "truncate": "END",
}
PINECONE = {"X-Pinecone-API-Version": "2025-10"}
PAIRS: Body = {"model": "m", "queries": "q", "documents": DOCS}
USAGE = {"prompt_tokens": 9, "total_tokens": 9}
DASHSCOPE: Body = {
    "model": "gte-rerank-v2",
    "parameters": {"return_documents": True, "top_n": 2},
    "input": {"query": "q", "documents": DOCS},
}
RANKED = [
    {"index": 1, "relevance_score": 0.3},
    {"index": 0, "relevance_score": 0.2},
    {"index": 2, "relevance_score": 0.1},
]
PATHS = (
    *("/rerank", "/v1/rerank", "/v2/rerank", "/reranking", "/v1/reranking", "/score"),
    *("/v1/score", "/v1/ranking", "//v1/rerank/", "/rerank/v1", "/rerank/v1/rerank"),
    *("/rerank/v1/v1/rerank", "/rerank/v1/v2/rerank", "/rerank/v1/score", "/rerank/v1/reranking"),
)


def taken(path: str, gateway: Gateway, body: Body) -> object:
    """Post and return the answer, which must be a 200."""
    answer = gateway.post(path, body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-rerank-version"] == "v1"
    assert gateway.workers.errands[-1].payload == orjson.dumps({"query": "q", "docs": DOCS})
    return answer.json()
