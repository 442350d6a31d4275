"""Xinference's client, from its handshake to a ranking; prints one line of JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from xinference_client import AsyncRESTfulClient, RESTfulClient

DOCS = ["Paris", "Rome", "Oslo"]


def main(url: str) -> None:
    client = RESTfulClient(url)
    model = client.get_model("v2-m3")
    answer = model.rerank(DOCS, "q", top_n=2, return_documents=True, return_len=True)
    other = client.get_model("bge-reranker-large").rerank([{"text": text} for text in DOCS], "q")
    print(json.dumps({
        "model": type(model).__name__,
        "models": list(client.list_models()),
        "ranked": [
            (r["index"], r["relevance_score"], r["document"]["text"]) for r in answer["results"]
        ],
        "tokens": answer["meta"]["tokens"]["input_tokens"],
        "other": [(r["index"], r["relevance_score"]) for r in other["results"]],
        "later": asyncio.run(_later(url)),
        "refused": _refused(url),
    }))  # fmt: skip


async def _later(url: str) -> int:
    client = AsyncRESTfulClient(url)
    try:
        answer = await (await client.get_model("v2-m3")).rerank(DOCS, "q")
    finally:
        await client.close()
    index: int = answer["results"][0]["index"]
    return index


def _refused(url: str) -> str | None:
    try:
        RESTfulClient(url).get_model("v2-m3").rerank(DOCS, "")
    except RuntimeError as error:
        return str(error)
    return None


main(sys.argv[1])
