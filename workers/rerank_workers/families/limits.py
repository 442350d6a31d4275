"""How many tokens a version's inputs may have."""

from __future__ import annotations

from rerank_workers.engines.files import ModelFiles, stated_max_length
from rerank_workers.scorer import Context


def max_length(context: Context, files: ModelFiles) -> int:
    """Take the configured length, or the model's own limit where that is less.

    The limit is what config.json gives, else (an ONNX file without one) the tokenizer's config.
    """
    limit = files.max_positions or stated_max_length(context.tokenizer_dir)
    return context.max_length if limit is None else min(context.max_length, limit)


def describe(context: Context, length: int, beyond: int = 0) -> str:
    """Say the effective length, and what was asked for where the model cannot take it.

    `beyond` counts the tokens of a prompt's fixed texts where these come on top.
    """
    notes = (
        []
        if length == context.max_length
        else [f"the model's limit; {context.max_length} configured"]
    )
    if beyond:
        notes.append(f"and {beyond} of the prompt")
    return f"{length} ({'; '.join(notes)})" if notes else str(length)


def query_share(length: int, special_tokens: int) -> int:
    """Most tokens of a query: three quarters, as FlagEmbedding's `query_max_length` default.

    Below 16 tokens a length leaves no room for that many beside the special tokens; the
    reference then exceeds its own limit, here the query is cut further.
    """
    return max(0, min(length * 3 // 4, length - special_tokens))
