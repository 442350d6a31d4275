"""LLM rerankers that can stop early: a head of its own behind each of the later layers.

BAAI/bge-reranker-v2-minicpm-layerwise, as FlagEmbedding's `LayerWiseFlagLLMReranker` scores it
(inference/reranker/decoder_only/layerwise.py). Cutoff N runs N layers, the final norm and the head
trained for layer N; the rest is not even loaded. FlagEmbedding gives a list of scores per cutoff
layer; here a pair has one score, so one layer. The unit score is the sigmoid of it in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from rerank_workers.engines.decoder import Head, Plan, load_decoder
from rerank_workers.engines.engine import AUTO
from rerank_workers.engines.files import ModelFiles, ModelFilesError, read_model_files
from rerank_workers.families.bge_prompt import (
    PASSAGE_INSTRUCTION,
    QUERY_INSTRUCTION,
    QUESTION,
    Wording,
    load_prompt,
)
from rerank_workers.families.language_model import LanguageModel
from rerank_workers.scorer import Context


def load(
    context: Context,
    *,
    cutoff_layers: Sequence[int] | None = None,
    query_instruction: str = QUERY_INSTRUCTION,
    passage_instruction: str = PASSAGE_INSTRUCTION,
    question: str = QUESTION,
    engine: str = AUTO,
) -> LanguageModel:
    """Load the reranker of a version.

    Args:
        context: where the files are and how to run them.
        cutoff_layers: one layer to stop behind, [28] say; None for the last.
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
    if files.config.get("head_type", "simple") != "simple":
        kind = files.config["head_type"]
        raise ModelFilesError(f"{files.directory}: head_type {kind!r}; only 'simple' is known")
    is_multiple = files.config.get("head_multi", True) is True
    name = f"lm_head.{place}.linear_head.weight" if is_multiple else "lm_head.linear_head.weight"
    wording = Wording(query_instruction, passage_instruction, question)
    prompt = load_prompt(context, files, wording, needs_bos=True)
    loaded = load_decoder(context, files, Plan(Head(name), depth=layer), engine)
    info = {
        "family": "layerwise",
        "activation": "sigmoid",
        "cutoff_layer": str(layer),
        "max_length": prompt.max_length,
        "tokenizer_file": prompt.tokenizer.file,
        **loaded.settings,
    }
    return LanguageModel(prompt.write, loaded, MappingProxyType(info))


def cutoff(files: ModelFiles, cutoff_layers: Sequence[int] | None) -> tuple[int, int]:
    """Choose the layer to stop behind, and the place of its head among the heads.

    Raises:
        ModelFilesError: more layers than one, one without a head, or config.json lacks a number.
    """
    path = files.directory / "config.json"
    last, first = files.config.get("num_hidden_layers"), files.config.get("start_layer", 8)
    step = files.config.get("layer_sep", 1)
    if not (isinstance(last, int) and isinstance(first, int) and isinstance(step, int)):
        raise ModelFilesError(f"{path}: num_hidden_layers, start_layer and layer_sep are numbers")
    layers = [last] if cutoff_layers is None else list(cutoff_layers)
    if len(layers) != 1:
        raise ModelFilesError(
            f"CUTOFF_LAYERS must name one layer, not {layers}: a pair has one score"
        )
    (layer,) = layers
    usable = range(first, last + 1, step)
    if layer not in usable:
        raise ModelFilesError(
            f"CUTOFF_LAYERS: no head behind layer {layer}; there are heads behind {first} to "
            f"{usable[-1]}" + (f", every {step}" if step > 1 else "")
        )
    return layer, usable.index(layer)
