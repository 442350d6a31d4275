"""Haystack's rankers for TEI, vLLM and Jina; prints what they kept as one line of JSON."""

from __future__ import annotations

import json
import os
import sys

from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
from haystack_integrations.components.rankers.jina import JinaRanker
from haystack_integrations.components.rankers.vllm import VLLMRanker

KEY = Secret.from_token("no-key")


def main(url: str) -> None:
    rankers = {
        "tei": HuggingFaceTEIRanker(url=url, token=KEY, top_k=2),
        "vllm": VLLMRanker(model="v2-m3", api_key=KEY, api_base_url=f"{url}/v1", top_k=2),
        "jina": JinaRanker(model="v2-m3", api_key=KEY, base_url=f"{url}/v1/rerank", top_k=2),
    }
    said: dict[str, object] = {
        name: [(d.content, d.score) for d in ranker.run("q", _documents())["documents"]]
        for name, ranker in rankers.items()
    }
    try:
        rankers["tei"].run("", _documents())
    except Exception as error:
        said["refused"] = "query is empty" in str(error)
    print(json.dumps(said))


def _documents() -> list[Document]:
    return [Document(content=text) for text in ("Paris", "Rome", "Oslo")]


os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
main(sys.argv[1])
