"""LLM rerankers that stop early and merge the passage's tokens on the way.

BAAI/bge-reranker-v2.5-gemma2-lightweight, as FlagEmbedding's `LightWeightFlagLLMReranker` scores it
(inference/reranker/decoder_only/lightweight.py with models/gemma_model.py) under transformers
4.46, the version it was written for. Two things it does may surprise, and are done here too:

- It reads head 0, whichever layer it stops behind (`lm_head[i]` counts the layers asked for, not
  the model's). `own_head=True` takes the head that belongs to the layer.
- Its attention is not capped, though config.json says `attn_logit_softcapping`: the attention
  transformers picks by default (sdpa) leaves it out. `attention_softcap=True` caps.

The unit score is the sigmoid of the raw score in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from rerank_workers.engines.decoder import Head, Merging, Plan, load_decoder
from rerank_workers.engines.engine import AUTO
from rerank_workers.engines.files import ModelFilesError, read_model_files
from rerank_workers.families import limits
from rerank_workers.families.bge_prompt import (
    PASSAGE_INSTRUCTION,
    QUERY_INSTRUCTION,
    SHORT_QUESTION,
    BgePrompt,
    Wording,
)
from rerank_workers.families.language_model import LanguageModel, special_id
from rerank_workers.families.layerwise import cutoff, required_bos
from rerank_workers.families.tokenizer import load_tokenizer
from rerank_workers.scorer import Context

RATIOS = (1, 2, 4, 8)


def load(
    context: Context,
    *,
    cutoff_layers: Sequence[int] | None = None,
    compress_ratio: int = 1,
    compress_layers: Sequence[int] = (8,),
    own_head: bool = False,
    attention_softcap: bool = False,
    query_instruction: str = QUERY_INSTRUCTION,
    passage_instruction: str = PASSAGE_INSTRUCTION,
    question: str = SHORT_QUESTION,
    engine: str = AUTO,
) -> LanguageModel:
    """Load the reranker of a version.

    Args:
        context: where the files are and how to run them.
        cutoff_layers: one layer to stop behind, [28] say; None for the last.
        compress_ratio: how many tokens of the passage become one: 1 (off), 2, 4 or 8.
        compress_layers: before which layers that happens.
        own_head: read the head of the layer stopped behind, not head 0.
        attention_softcap: cap attention as config.json says.
        query_instruction: put before every query.
        passage_instruction: put before every document.
        question: put behind every pair.
        engine: "torch", or "auto" for the same.

    Raises:
        ModelFilesError: files are missing, damaged or of another kind, or have no head there.
        DeviceMemoryError: the device has no room for the model.
    """
    files = read_model_files(context.model_dir)
    if compress_ratio not in RATIOS:
        raise ModelFilesError(f"COMPRESS_RATIO is 1, 2, 4 or 8, not {compress_ratio}")
    if files.config.get("layer_wise", True) is not True:
        raise ModelFilesError(f"{files.directory}: layer_wise is off; its heads are not known")
    tokenizer = load_tokenizer(context.tokenizer_dir, files)
    length = limits.max_length(context, files)
    layer, place = cutoff(files, cutoff_layers)
    head = Head(f"lm_head.{place if own_head else 0}.linear_head.weight")
    bos = required_bos(special_id("bos_token", tokenizer, context, files), tokenizer.file)
    write = BgePrompt(
        tokenizer, Wording(query_instruction, passage_instruction, question), bos, length
    )
    merging = Merging(compress_ratio, frozenset(compress_layers)) if compress_ratio > 1 else None
    plan = Plan(head, layer, merging, attention_softcap)
    loaded = load_decoder(context, files, plan, engine)
    merged = f"{compress_ratio} before layers {', '.join(map(str, compress_layers))}"
    info = {
        "family": "lightweight",
        "activation": "sigmoid",
        "cutoff_layer": str(layer),
        "head": str(place if own_head else 0),
        "compress": "off" if merging is None else merged,
        "max_length": limits.describe(context, length, write.fixed_tokens),
        "tokenizer_file": tokenizer.file,
        **loaded.settings,
    }
    return LanguageModel(write, loaded, MappingProxyType(info))
