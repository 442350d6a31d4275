"""LlamaIndex's rerankers for TEI, Jina and Xinference; prints one line of JSON."""

from __future__ import annotations

import json
import sys

from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
from llama_index.postprocessor.xinference_rerank import XinferenceRerank


def main(url: str) -> None:
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("Paris", "Rome", "Oslo")]
    rerankers = {
        "tei": TextEmbeddingInference(base_url=url, top_n=2, auth_token="Bearer no-key"),
        "jina": JinaRerank(base_url=f"{url}/v1", api_key="no-key", model="v2-m3", top_n=2),
        "xinference": XinferenceRerank(base_url=url, model="v2-m3", top_n=2),
    }
    kept = {
        name: [(n.node.text, n.score) for n in reranker.postprocess_nodes(nodes, QueryBundle("q"))]
        for name, reranker in rerankers.items()
    }
    print(json.dumps(kept))


main(sys.argv[1])
