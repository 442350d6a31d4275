"""The numbers plain transformers code computes, one unpadded row at a time, as FlagEmbedding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)


def tokenizer(directory: Path) -> PreTrainedTokenizerFast:
    """Load the version's tokenizer the transformers way."""
    path = directory / "tokenizer" / "tokenizer.json"
    return PreTrainedTokenizerFast(tokenizer_file=str(path))  # type: ignore[no-untyped-call]  # theirs


def pair_logits(directory: Path, query: str, docs: Sequence[str], max_length: int) -> list[float]:
    """Score with `AutoModelForSequenceClassification`, input built as FlagEmbedding 1.4 does."""
    fast = tokenizer(directory)
    model = AutoModelForSequenceClassification.from_pretrained(directory / "model").eval().float()
    is_bert = model.config.model_type != "xlm-roberta"
    before, between, after = ([2], [3], [3]) if is_bert else ([0], [2, 2], [2])
    if is_bert and fast.convert_ids_to_tokens(2) != "[CLS]":  # the real vocabulary
        before, between, after = [101], [102], [102]
    scores = []
    for doc in docs:
        query_ids = _cut(fast, query, max_length * 3 // 4)
        doc_ids = _cut(fast, doc, max_length)
        head = before + query_ids + between
        excess = len(head) + len(doc_ids) + len(after) - max_length
        doc_ids = doc_ids[: len(doc_ids) - excess] if excess > 0 else doc_ids
        ids = torch.tensor([head + doc_ids + after])
        types = torch.tensor([[0] * len(head) + [1] * len(doc_ids + after)])
        with torch.inference_mode():
            more = {"token_type_ids": types} if is_bert else {}
            scores.append(model(input_ids=ids, **more).logits.view(-1).float().item())
    return scores


def last_states(directory: Path, text: str) -> torch.Tensor:
    """Run `AutoModel` on one text; shape (tokens, width)."""
    fast = tokenizer(directory)
    model = AutoModel.from_pretrained(directory / "model").eval().float()
    ids = torch.tensor([[2, *_cut(fast, text, 126), 3]])
    with torch.inference_mode():
        states: torch.Tensor = model(input_ids=ids).last_hidden_state[0]
    return states


def _cut(fast: PreTrainedTokenizerFast, text: str, length: int) -> list[int]:
    encoded = fast(
        text, add_special_tokens=False, truncation=True, max_length=length, padding=False
    )
    ids: list[int] = encoded["input_ids"]
    return ids
