"""Scores pairs with a cross-encoder: query and document are read together.

For bge-reranker-base, -large, -v2-m3, ms-marco-MiniLM and other sequence-classification models
with one label. This file belongs to the version: change it as you like, then reload the version.
"""

from rerank_workers.families import ByHand, cross_encoder
from rerank_workers.scorer import Context, Scorer

# "torch" runs model.safetensors or pytorch_model.bin, "openvino" runs what `optimize` made,
# "onnx" runs model.onnx, "auto" the first of them that lies in the model folder.
ENGINE = "auto"

# Whether code that lies in the model folder (*.py, named by auto_map in its config.json) is run. A
# few models need it (jina-reranker-v2, gte-multilingual-reranker): read it first.
TRUST_REMOTE_CODE = False


def load(context: Context) -> Scorer:
    """Load the model. The server calls this once, then batches pairs of several requests."""
    return cross_encoder.load(context, engine=ENGINE, trust_remote_code=TRUST_REMOTE_CODE)


_by_hand = ByHand(__file__, load)


def rerank(query: str, docs: list[str]) -> list[float]:
    """Score documents, 0..1 each, in order. For use by hand; loads the model when first called."""
    return _by_hand.rerank(query, docs)
