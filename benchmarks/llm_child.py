"""The contestants of `llm.py`: an LLM reranker by our engine, and by transformers' own forward.

All get whole batches of the same prompts, the shortest first, and compute logit("yes") -
logit("no"). Ours tokenizes within the run, so that no prefix is remembered from the run before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.engine_child import Run, Texts
    from rerank_workers.families.language_model import LanguageModel

TRANSFORMERS = "transformers fp32 (peer)"
OURS_FP32 = "ours, fp32"
OURS_BF16 = "ours, bf16"
NAMES = (TRANSFORMERS, OURS_FP32, OURS_BF16)
MAX_LENGTH = 512

_BATCH = 8


def run_of(name: str, version: Path, folder: Path, texts: Texts, threads: int) -> Run:
    """Give a run of one of `NAMES`; `folder` is where a choice of format may be remembered."""
    if name == TRANSFORMERS:
        return transformers(version, prompts(version, folder, texts, threads), threads)
    model = ours(version, folder, threads, use_fp16=name == OURS_BF16)
    wanted = "bfloat16" if name == OURS_BF16 else "float32"
    if model.info["dtype"] != wanted:
        raise SystemExit(f"`use_fp16: true` takes {model.info['dtype']} here: {dict(model.info)}")

    def run() -> list[float]:
        items = [item for query, docs in texts for item in model.encode(query, docs)]
        order = sorted(range(len(items)), key=lambda at: items[at].tokens)
        scores = [0.0] * len(items)
        for batch in _batches(order):
            found = model.score([items[at] for at in batch])
            for at, score in zip(batch, found, strict=True):
                scores[at] = score
        return scores

    return run


def ours(version: Path, folder: Path, threads: int, *, use_fp16: bool) -> LanguageModel:
    """Load the version as its worker does."""
    from rerank_workers.engines.choice import STORE
    from rerank_workers.families import yes_no
    from rerank_workers.scorer import Context

    options = {STORE: str(folder / "choices.json")}
    return yes_no.load(
        Context(
            "v1", version, use_fp16=use_fp16, max_length=MAX_LENGTH, threads=threads,
            options=options,
        )
    )  # fmt: skip


def prompts(version: Path, folder: Path, texts: Texts, threads: int) -> list[list[int]]:
    """Return the token ids that our engine reads for each pair."""
    model = ours(version, folder, threads, use_fp16=False)
    return [
        [*item.prefix.ids.tolist(), *item.ids.tolist()]
        for query, docs in texts
        for item in model.encode(query, docs)
    ]


def transformers(version: Path, ids: Sequence[Sequence[int]], threads: int) -> Run:
    """Give a run of the recipe on the card of Qwen3-Reranker: padded on the left, last logits."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    network = AutoModelForCausalLM.from_pretrained(version / "model", dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(version / "tokenizer" / "tokenizer.json"))
    yes, no = (tokenizer.encode(answer).ids[0] for answer in ("yes", "no"))
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))

    def run() -> list[float]:
        scores = [0.0] * len(ids)
        for batch in _batches(order):
            longest = max(len(ids[at]) for at in batch)
            padded = torch.zeros(len(batch), longest, dtype=torch.int64)
            mask = torch.zeros_like(padded)
            for row, at in enumerate(batch):
                padded[row, longest - len(ids[at]) :] = torch.tensor(ids[at])
                mask[row, longest - len(ids[at]) :] = 1
            with torch.inference_mode():
                logits = network(input_ids=padded, attention_mask=mask).logits[:, -1, :]
            for at, row in zip(batch, logits, strict=True):
                scores[at] = float(row[yes] - row[no])
        return scores

    return run


def _batches(order: Sequence[int]) -> list[Sequence[int]]:
    return [order[at : at + _BATCH] for at in range(0, len(order), _BATCH)]
