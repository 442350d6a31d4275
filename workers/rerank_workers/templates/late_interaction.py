"""Scores pairs by late interaction (ColBERT): each query token's best match, averaged.

Uses the encoder's last states as they are, without ColBERT's projection and markers. This file
belongs to the version: change it as you like, then reload the version.
"""

from rerank_workers.families import ByHand, late_interaction
from rerank_workers.scorer import Context, Scorer

# "torch" runs model.safetensors or pytorch_model.bin, "onnx" runs model.onnx,
# "auto" the first of them that lies in the model folder.
ENGINE = "auto"


def load(context: Context) -> Scorer:
    """Load the model. The server calls this once, then batches pairs of several requests."""
    return late_interaction.load(context, engine=ENGINE)


_by_hand = ByHand(__file__, load)


def rerank(query: str, docs: list[str]) -> list[float]:
    """Score documents, 0..1 each, in order. For use by hand; loads the model when first called."""
    return _by_hand.rerank(query, docs)
