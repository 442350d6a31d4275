"""LangChain's Cohere reranker with a base URL; prints what it got as one line of JSON."""

from __future__ import annotations

import json
import sys

from langchain_cohere import CohereRerank
from langchain_core.documents import Document

DOCS = [Document(page_content=name, metadata={"id": i}) for i, name in enumerate("abc")]


def main(url: str) -> None:
    reranker = CohereRerank(model="v2-m3", base_url=url, cohere_api_key="no-key", top_n=2)
    kept = reranker.compress_documents(DOCS, "capital of France")
    ranked = reranker.rerank(["x", {"title": "y"}], "q", top_n=None)
    print(json.dumps({
        "kept": [(d.page_content, d.metadata["id"], d.metadata["relevance_score"]) for d in kept],
        "ranked": ranked,
        "empty": list(reranker.compress_documents([], "q")),
    }))  # fmt: skip


main(sys.argv[1])
