"""Infinity's own client; prints what it got as one line of JSON."""

from __future__ import annotations

import json
import sys

from infinity_client import Client
from infinity_client.api.default import rerank
from infinity_client.models import RerankInput

DOCS = ["Paris", "Rome", "Oslo"]


def main(url: str) -> None:
    client = Client(base_url=url)
    answer = rerank.sync(
        client=client,
        body=RerankInput(query="q", documents=DOCS, model="v2-m3", return_documents=True, top_n=2),
    )
    plain = rerank.sync(client=client, body=RerankInput(query="q", documents=DOCS))
    refused = rerank.sync_detailed(client=client, body=RerankInput(query="", documents=DOCS))
    print(json.dumps({
        "ranked": [(r.index, r.relevance_score) for r in answer.results],
        "object": answer.object_,
        "tokens": answer.usage.total_tokens,
        "plain": [(r.index, r.relevance_score) for r in plain.results],
        "refused": refused.status_code,
    }))  # fmt: skip


main(sys.argv[1])
