"""The references themselves: the models' own code, as their authors publish it.

Runs inside an environment made by `derive`, where these libraries are installed; imported nowhere
else. Each function scores pairs with the model in a folder: one float a pair, in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Pairs: TypeAlias = Sequence[tuple[str, str]]
Options: TypeAlias = Mapping[str, object]

_QWEN3_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
_QWEN3_PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
_QWEN3_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def flag_encoder(
    model: Path, pairs: Pairs, max_length: int, batch_size: int, options: Options
) -> list[float]:
    """FlagEmbedding's FlagReranker."""
    return _flag("FlagReranker", model, pairs, max_length, batch_size, options)


def flag_llm(
    model: Path, pairs: Pairs, max_length: int, batch_size: int, options: Options
) -> list[float]:
    """FlagEmbedding's FlagLLMReranker."""
    return _flag("FlagLLMReranker", model, pairs, max_length, batch_size, options)


def flag_layerwise(
    model: Path, pairs: Pairs, max_length: int, batch_size: int, options: Options
) -> list[float]:
    """FlagEmbedding's LayerWiseFlagLLMReranker."""
    return _flag("LayerWiseFlagLLMReranker", model, pairs, max_length, batch_size, options)


def flag_lightweight(
    model: Path, pairs: Pairs, max_length: int, batch_size: int, options: Options
) -> list[float]:
    """FlagEmbedding's LightWeightFlagLLMReranker."""
    return _flag("LightWeightFlagLLMReranker", model, pairs, max_length, batch_size, options)


def _flag(
    name: str, model: Path, pairs: Pairs, max_length: int, batch_size: int, options: Options
) -> list[float]:
    import FlagEmbedding  # type: ignore[import-not-found]  # in its own environment

    reranker = getattr(FlagEmbedding, name)(
        str(model), use_fp16=False, devices=["cpu"], max_length=max_length, batch_size=batch_size
    )
    scores: list[float] = reranker.compute_score([list(pair) for pair in pairs], **options)
    return scores


def sentence_transformers(
    model: Path, pairs: Pairs, max_length: int, batch_size: int, options: Options
) -> list[float]:
    """sentence-transformers' CrossEncoder, without an activation."""
    import torch
    from sentence_transformers import (  # type: ignore[import-not-found]  # in its own environment
        CrossEncoder,
    )

    encoder = CrossEncoder(
        str(model), device="cpu", max_length=max_length, activation_fn=torch.nn.Identity()
    )
    texts = [list(pair) for pair in pairs]
    scores: list[float] = encoder.predict(texts, batch_size=batch_size).tolist()
    return scores


def transformers_pairs(
    model: Path, pairs: Pairs, max_length: int, batch_size: int, options: Options
) -> list[float]:
    """AutoModelForSequenceClassification on rows cut as FlagEmbedding cuts them, one by one."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForSequenceClassification

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    network = AutoModelForSequenceClassification.from_pretrained(model)
    scores = []
    for query, doc in pairs:
        query_ids = tokenizer.encode(query, add_special_tokens=False).ids[: max_length * 3 // 4]
        doc_ids = tokenizer.encode(doc, add_special_tokens=False).ids
        row = [2, *query_ids, 3, *doc_ids[: max_length - 3 - len(query_ids)], 3]
        with torch.inference_mode():
            scores.append(network(input_ids=torch.tensor([row])).logits.item())
    return scores


def qwen3_card(
    model: Path, pairs: Pairs, max_length: int, batch_size: int, options: Options
) -> list[float]:
    """The transformers recipe on the card of Qwen3-Reranker, its softmax left out."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    network = AutoModelForCausalLM.from_pretrained(model)
    no, yes = (tokenizer.convert_tokens_to_ids(answer) for answer in ("no", "yes"))
    scores: list[float] = []
    for inputs in _qwen3_inputs(tokenizer, pairs, max_length, batch_size):
        with torch.no_grad():
            logits = network(**inputs).logits[:, -1, :]
        scores += (logits[:, yes] - logits[:, no]).tolist()
    return scores


def qwen3_seq_cls(
    model: Path, pairs: Pairs, max_length: int, batch_size: int, options: Options
) -> list[float]:
    """The same input for a conversion to sequence classification."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    network = AutoModelForSequenceClassification.from_pretrained(model)
    scores: list[float] = []
    for inputs in _qwen3_inputs(tokenizer, pairs, max_length, batch_size):
        with torch.no_grad():
            scores += network(**inputs).logits.reshape(-1).tolist()
    return scores


def _qwen3_inputs(  # type: ignore[no-untyped-def]  # a tokenizer in, what it returns out
    tokenizer, pairs: Pairs, max_length: int, batch_size: int
):
    prefix, suffix = (
        tokenizer.encode(text, add_special_tokens=False) for text in (_QWEN3_PREFIX, _QWEN3_SUFFIX)
    )
    texts = [
        f"<Instruct>: {_QWEN3_INSTRUCTION}\n<Query>: {query}\n<Document>: {doc}"
        for query, doc in pairs
    ]
    for start in range(0, len(texts), batch_size):
        inputs = tokenizer(
            texts[start : start + batch_size],
            padding=False,
            truncation="longest_first",
            return_attention_mask=False,
            max_length=max_length - len(prefix) - len(suffix),
        )
        rows = [prefix + ids + suffix for ids in inputs["input_ids"]]
        yield tokenizer.pad({"input_ids": rows}, padding=True, return_tensors="pt")


def mxbai(
    model: Path, pairs: Pairs, max_length: int, batch_size: int, options: Options
) -> list[float]:
    """mxbai_rerank's MxbaiRerankV2, without its normalization."""
    from mxbai_rerank import MxbaiRerankV2  # type: ignore[import-not-found]  # as above

    reranker = MxbaiRerankV2(str(model), device="cpu", torch_dtype="float32", max_length=max_length)
    scores: list[float] = []
    for start in range(0, len(pairs), batch_size):
        queries, docs = zip(*pairs[start : start + batch_size], strict=True)
        scores += reranker.predict(list(queries), list(docs)).tolist()
    return scores
