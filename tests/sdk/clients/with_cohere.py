"""Cohere's own client, first and second version; prints what it got as one line of JSON."""

from __future__ import annotations

import asyncio
import json
import sys

import cohere

DOCS = ["Paris", "Rome", "Oslo"]


def main(url: str) -> None:
    first = cohere.Client("no-key", base_url=url)
    second = cohere.ClientV2("no-key", base_url=url)
    one = first.rerank(
        model="rerank-english-v3.0",
        query="capital of France",
        documents=[DOCS[0], {"text": DOCS[1]}, {"text": DOCS[2], "id": "7"}],
        top_n=2,
        return_documents=True,
        max_chunks_per_doc=10,
    )
    fields = first.rerank(
        model="v2-m3",
        query="capital of France",
        documents=[{"title": doc, "body": "x"} for doc in DOCS],
        rank_fields=["title", "body"],
    )
    two = second.rerank(
        model="v2-m3", query="capital of France", documents=DOCS, max_tokens_per_doc=4096
    )

    async def later() -> object:
        client = cohere.AsyncClientV2("no-key", base_url=url)
        return (await client.rerank(model="m", query="q", documents=DOCS)).results[0].index

    print(json.dumps({
        "one": [(r.index, r.relevance_score, r.document and r.document.text) for r in one.results],
        "one_meta": one.meta and one.meta.api_version and one.meta.api_version.version,
        "fields": [(r.index, r.relevance_score) for r in fields.results],
        "two": [(r.index, r.relevance_score) for r in two.results],
        "two_id": two.id,
        "two_units": two.meta and two.meta.billed_units and two.meta.billed_units.search_units,
        "two_tokens": two.meta and two.meta.tokens and two.meta.tokens.input_tokens,
        "later": asyncio.run(later()),
        "refused": _refused(second, []) or _refused(second, ["x"] * 51),
        "empty": _refused(second, [""], query=""),
    }))  # fmt: skip


def _refused(client: cohere.ClientV2, documents: list[str], query: str = "q") -> object:
    try:
        client.rerank(model="m", query=query, documents=documents)
    except cohere.BadRequestError as error:
        return [error.status_code, error.body["message"]]
    return None


main(sys.argv[1])
