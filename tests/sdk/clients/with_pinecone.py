"""Pinecone's client with the server as its host; prints what it got as one line of JSON."""

from __future__ import annotations

import json
import sys

from pinecone import Pinecone


def main(url: str) -> None:
    ask = Pinecone(api_key="no-key", host=url).inference.rerank
    texts = ask(model="v2-m3", query="q", documents=["Paris", "Rome", "Oslo"], top_n=2)
    objects = ask(
        model="bge-reranker-v2-m3",
        query="q",
        documents=[{"id": "a", "name": "Paris"}, {"id": "b", "name": "Rome"}],
        rank_fields=["name"],
        parameters={"truncate": "END"},
    )
    print(json.dumps({
        "texts": [(each.index, each.score, each.document["text"]) for each in texts.data],
        "objects": [(each.score, each.document["id"]) for each in objects.data],
        "units": texts.usage.rerank_units,
    }))  # fmt: skip


main(sys.argv[1])
