"""Scores pairs with an LLM asked for "Yes" or "No": the logit of "Yes".

For bge-reranker-v2-gemma. This file belongs to the version: change it as you like, then reload the
version.
"""

from rerank_workers.families import ByHand, yes_logit
from rerank_workers.scorer import Context, Scorer

# What stands before a query, before a document, and behind them both. These are what the model was
# trained with.
QUERY_INSTRUCTION = "A: "
PASSAGE_INSTRUCTION = "B: "
QUESTION = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the "
    "query by providing a prediction of either 'Yes' or 'No'."
)

# The answer whose first token's logit is the score.
ANSWER = "Yes"


def load(context: Context) -> Scorer:
    """Load the model. The server calls this once, then batches pairs of several requests."""
    return yes_logit.load(
        context,
        query_instruction=QUERY_INSTRUCTION,
        passage_instruction=PASSAGE_INSTRUCTION,
        question=QUESTION,
        answer=ANSWER,
    )


_by_hand = ByHand(__file__, load)


def rerank(query: str, docs: list[str]) -> list[float]:
    """Score documents, 0..1 each, in order. For use by hand; loads the model when first called."""
    return _by_hand.rerank(query, docs)
