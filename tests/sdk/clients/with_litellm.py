"""LiteLLM's rerank with several providers; prints what it got as one line of JSON."""

from __future__ import annotations

import json
import sys

import litellm

DOCS = ["Paris", "Rome", "Oslo"]
PROVIDERS = (
    *("cohere", "hosted_vllm", "huggingface", "jina_ai", "voyage"),
    *("nvidia_nim", "together_ai", "dashscope"),
)


def main(url: str) -> None:
    litellm.telemetry = False
    said = {provider: _ask(provider, url) for provider in PROVIDERS}
    # That provider wants documents as plain strings; hosted_vllm sends the same and wants objects.
    said["infinity"] = _ask("infinity", url, return_documents=False)
    said["refused"] = _refused(url)
    print(json.dumps(said))


def _ask(provider: str, url: str, return_documents: bool = True) -> object:
    answer = litellm.rerank(
        model=f"{provider}/v2-m3",
        query="capital of France",
        documents=DOCS,
        top_n=2,
        return_documents=return_documents,
        api_base=url,
        api_key="no-key",
    )
    return [
        (each["index"], each["relevance_score"], (each.get("document") or {}).get("text"))
        for each in answer.results
    ]


def _refused(url: str) -> object:
    try:
        litellm.rerank(
            model="hosted_vllm/m", query="", documents=DOCS, api_base=url, api_key="no-key"
        )
    except litellm.BadRequestError as error:
        return [error.status_code, "query is empty" in str(error)]
    except Exception as error:
        return [type(error).__name__, str(error)]
    return None


main(sys.argv[1])
