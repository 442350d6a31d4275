"""Scores pairs with an LLM that weighs two answers: logit("yes") - logit("no").

For Qwen3-Reranker, its conversions to sequence classification, and mxbai-rerank-v2. This file
belongs to the version: change it as you like, then reload the version.
"""

from rerank_workers.families import ByHand, yes_no
from rerank_workers.scorer import Context, Scorer

# How the model is asked: "qwen3" or "mxbai"; "auto" goes by the model's config.json.
PROMPT = "auto"

# What to look for, in one English sentence. None is the model's default: for Qwen3 "Given a web
# search query, retrieve relevant passages that answer the query", for mxbai nothing.
INSTRUCTION = None

# The answers that are weighed. None is the prompt's own: "yes" and "no", for mxbai "1" and "0".
YES = None
NO = None


def load(context: Context) -> Scorer:
    """Load the model. The server calls this once, then batches pairs of several requests."""
    return yes_no.load(
        context,
        prompt=PROMPT,
        instruction=INSTRUCTION,
        yes=YES,
        no=NO,
    )


_by_hand = ByHand(__file__, load)


def rerank(query: str, docs: list[str]) -> list[float]:
    """Score documents, 0..1 each, in order. For use by hand; loads the model when first called."""
    return _by_hand.rerank(query, docs)
