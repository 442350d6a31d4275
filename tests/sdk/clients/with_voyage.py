"""Voyage's client, at once and asynchronously; prints what it got as one line of JSON."""

from __future__ import annotations

import asyncio
import json
import sys

import voyageai

DOCS = ["Paris", "Rome", "Oslo"]


def main(url: str) -> None:
    client = voyageai.Client(api_key="no-key", base_url=f"{url}/v1")
    answer = client.rerank("q", DOCS, model="v2-m3", top_k=2)
    later = voyageai.AsyncClient(api_key="no-key", base_url=f"{url}/v1")
    print(json.dumps({
        "ranked": [(r.index, r.relevance_score, r.document) for r in answer.results],
        "tokens": answer.total_tokens,
        "later": len(asyncio.run(later.rerank("q", DOCS, model="rerank-2.5")).results),
        "refused": _refused(client),
    }))  # fmt: skip


def _refused(client: voyageai.Client) -> str | None:
    try:
        client.rerank("", DOCS, model="rerank-2.5")
    except voyageai.error.InvalidRequestError as error:
        return str(error)
    return None


main(sys.argv[1])
