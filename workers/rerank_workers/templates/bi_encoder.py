"""Scores pairs with an embedding model: the cosine of the query's and the document's vectors.

For bge-small-en-v1.5 and the like. This file belongs to the version: change it as you like, then
reload the version.
"""

from rerank_workers.families import ByHand, bi_encoder
from rerank_workers.scorer import Context, Scorer

# Put before every query. This is what the card of bge-*-en-v1.5 gives for retrieval;
# bi_encoder.BGE_ZH is the one for bge-*-zh, "" is for models trained without one, and None takes
# what the model's own files say.
QUERY_INSTRUCTION = "Represent this sentence for searching relevant passages: "

# "cls" (the first token, as BGE) or "mean"; None takes what 1_Pooling/config.json says, else "cls".
POOLING = None

# "torch" runs model.safetensors or pytorch_model.bin, "onnx" runs model.onnx,
# "auto" the first of them that lies in the model folder.
ENGINE = "auto"


def load(context: Context) -> Scorer:
    """Load the model. The server calls this once, then batches pairs of several requests."""
    return bi_encoder.load(
        context, query_instruction=QUERY_INSTRUCTION, pooling=POOLING, engine=ENGINE
    )


_by_hand = ByHand(__file__, load)


def rerank(query: str, docs: list[str]) -> list[float]:
    """Score documents, 0..1 each, in order. For use by hand; loads the model when first called."""
    return _by_hand.rerank(query, docs)
