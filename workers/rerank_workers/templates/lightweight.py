"""Scores pairs with an LLM that stops early and merges the passage's tokens on the way.

For bge-reranker-v2.5-gemma2-lightweight. This file belongs to the version: change it as you like,
then reload the version.
"""

from rerank_workers.families import ByHand, lightweight
from rerank_workers.scorer import Context, Scorer

# The layer to stop behind, [28] say; None is the last one, as FlagEmbedding has it when nothing is
# said.
CUTOFF_LAYERS = None

# Before the layers of COMPRESS_LAYERS, every COMPRESS_RATIO (1, 2, 4 or 8) neighbouring tokens of
# the passage become one; 1 is off. The model's card shows [28] above with 2 and [24, 40] here.
COMPRESS_RATIO = 1
COMPRESS_LAYERS = [8]

# FlagEmbedding reads head 0 whichever layer it stops behind, and leaves out the capping of
# attention that config.json asks for. These take the layer's own head, and cap attention.
OWN_HEAD = False
ATTENTION_SOFTCAP = False

# What stands before a query, before a document, and behind them both. These are what the model was
# trained with.
QUERY_INSTRUCTION = "A: "
PASSAGE_INSTRUCTION = "B: "
QUESTION = "Predict whether passage B contains an answer to query A."


def load(context: Context) -> Scorer:
    """Load the model. The server calls this once, then batches pairs of several requests."""
    return lightweight.load(
        context,
        cutoff_layers=CUTOFF_LAYERS,
        compress_ratio=COMPRESS_RATIO,
        compress_layers=COMPRESS_LAYERS,
        own_head=OWN_HEAD,
        attention_softcap=ATTENTION_SOFTCAP,
        query_instruction=QUERY_INSTRUCTION,
        passage_instruction=PASSAGE_INSTRUCTION,
        question=QUESTION,
    )


_by_hand = ByHand(__file__, load)


def rerank(query: str, docs: list[str]) -> list[float]:
    """Score documents, 0..1 each, in order. For use by hand; loads the model when first called."""
    return _by_hand.rerank(query, docs)
