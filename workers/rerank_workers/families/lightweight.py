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
from rerank_workers.families.bge_prompt import (
    PASSAGE_INSTRUCTION,
    QUERY_INSTRUCTION,
    SHORT_QUESTION,
    Wording,
    load_prompt,
)
from rerank_workers.families.language_model import LanguageModel
from rerank_workers.families.layerwise import cutoff
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
    layer, place = cutoff(files, cutoff_layers)
    merging = _merging(compress_ratio, compress_layers)
    wording = Wording(query_instruction, passage_instruction, question)
    prompt = load_prompt(context, files, wording, needs_bos=True)
    head = Head(f"lm_head.{place if own_head else 0}.linear_head.weight")
    loaded = load_decoder(context, files, Plan(head, layer, merging, attention_softcap), engine)
    info = {
        "family": "lightweight",
        "activation": "sigmoid",
        "cutoff_layer": str(layer),
        "head": str(place if own_head else 0),
        "compress": "off" if merging is None else str(merging),
        "max_length": prompt.max_length,
        "tokenizer_file": prompt.tokenizer.file,
        **loaded.settings,
    }
    return LanguageModel(prompt.write, loaded, MappingProxyType(info))


def _merging(ratio: int, layers: Sequence[int]) -> Merging | None:
    if ratio not in RATIOS:
        raise ModelFilesError(f"COMPRESS_RATIO is 1, 2, 4 or 8, not {ratio}")
    return Merging(ratio, frozenset(layers)) if ratio > 1 else None
