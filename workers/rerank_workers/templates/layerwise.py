"""Scores pairs with an LLM that can stop at an earlier layer, each with a head of its own.

For bge-reranker-v2-minicpm-layerwise. This file belongs to the version: change it as you like, then
reload the version.
"""

from rerank_workers.families import ByHand, layerwise
from rerank_workers.scorer import Context, Scorer

# The layer to stop behind: [28], which the model's card recommends, takes 28/40 of the time and
# memory. None is the last one, as FlagEmbedding has it when nothing is said.
CUTOFF_LAYERS = None

# What stands before a query, before a document, and behind them both. These are what the model was
# trained with.
QUERY_INSTRUCTION = "A: "
PASSAGE_INSTRUCTION = "B: "
QUESTION = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the "
    "query by providing a prediction of either 'Yes' or 'No'."
)


def load(context: Context) -> Scorer:
    """Load the model. The server calls this once, then batches pairs of several requests."""
    return layerwise.load(
        context,
        cutoff_layers=CUTOFF_LAYERS,
        query_instruction=QUERY_INSTRUCTION,
        passage_instruction=PASSAGE_INSTRUCTION,
        question=QUESTION,
    )


_by_hand = ByHand(__file__, load)


def rerank(query: str, docs: list[str]) -> list[float]:
    """Score documents, 0..1 each, in order. For use by hand; loads the model when first called."""
    return _by_hand.rerank(query, docs)
