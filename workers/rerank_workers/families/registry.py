"""The families by name, and the choice of one from the model's own files."""

from __future__ import annotations

import importlib
import re
from types import MappingProxyType
from typing import Protocol, cast

from rerank_workers.engines.engine import AUTO
from rerank_workers.engines.files import ModelFiles, ModelFilesError, read_json, read_model_files
from rerank_workers.engines.onnx_outline import read_outline
from rerank_workers.scorer import Context, Scorer

FAMILIES = (
    "cross_encoder",
    "bi_encoder",
    "late_interaction",
    "yes_logit",
    "layerwise",
    "lightweight",
    "yes_no",
)
"""Every family; each is the module of that name in this package."""

_BY_CLASS = MappingProxyType(
    {
        "LayerWiseMiniCPMForCausalLM": "layerwise",
        "CostWiseGemmaForCausalLM": "lightweight",
        "GemmaForCausalLM": "yes_logit",
        "GemmaForSequenceClassification": "yes_logit",
        "Qwen2ForCausalLM": "yes_no",
        "Qwen2ForSequenceClassification": "yes_no",
        "Qwen3ForCausalLM": "yes_no",
        "Qwen3ForSequenceClassification": "yes_no",
    }
)
"""Language models, each of which one family of rerankers was made of."""

_UNKNOWN_PROMPT = re.compile(r"\w+ForCausalLM|(Llama|Mistral|Gemma\d|Phi\d*)\w*ForSequence\w+")


class _Family(Protocol):
    def load(self, context: Context, *, engine: str) -> Scorer: ...


def load(context: Context, *, family: str = AUTO, engine: str = AUTO) -> Scorer:
    """Load a version's model as the family its own files show, or as the one named.

    Raises:
        ModelFilesError: files are missing or damaged, or no family fits them.
        DeviceMemoryError: the device has no room for the model.
    """
    name = detect(read_model_files(context.model_dir)) if family == AUTO else family
    if name not in FAMILIES:
        raise ModelFilesError(f"no family {name!r}; there are {', '.join(FAMILIES)}")
    module = cast(_Family, importlib.import_module(f"rerank_workers.families.{name}"))
    return module.load(context, engine=engine)


def detect(files: ModelFiles) -> str:
    """Name the family of a model folder.

    ColBERT's own marks come first, since such a folder's config.json often names a plain encoder;
    then the class the config names; then, without a config, the outputs of the ONNX graph. A
    plain encoder is taken for a bi-encoder: a late-interaction model that carries no mark must be
    named.

    Raises:
        ModelFilesError: no family fits; the message says what was found.
    """
    if _is_late_interaction(files):
        return "late_interaction"
    if files.architectures:
        return _by_class_name(files, files.architectures[0])
    if files.onnx is not None:
        outputs = read_outline(files.onnx).outputs
        if "logits" in outputs:
            return "cross_encoder"
        if {"last_hidden_state", "token_embeddings"} & set(outputs):
            return "bi_encoder"
    raise ModelFilesError(
        f"{files.directory}: config.json names no architecture; set FAMILY in rerank.py to one of "
        f"{', '.join(FAMILIES)}"
    )


def _is_late_interaction(files: ModelFiles) -> bool:
    """Look for the marks of colbert-ir, Hugging Face ColBERT classes and PyLate."""
    return (
        any("colbert" in name.lower() for name in files.architectures)
        or (files.directory / "artifact.metadata").is_file()
        or "pylate" in _text(files, "modules.json")
        or "colbert"
        in str(read_json(files.directory / "config_sentence_transformers.json")).lower()
    )


def _by_class_name(files: ModelFiles, name: str) -> str:
    if name in _BY_CLASS:
        return _BY_CLASS[name]
    if _UNKNOWN_PROMPT.fullmatch(name):
        raise ModelFilesError(
            f"{files.directory}: {name} is a language model whose prompt is not known; set FAMILY "
            "in rerank.py to yes_logit or yes_no if it was trained with theirs"
        )
    if name.endswith("ForSequenceClassification"):
        return "cross_encoder"
    if name.endswith("Model"):
        return "bi_encoder"
    raise ModelFilesError(
        f"{files.directory}: no family for {name}; there are {', '.join(FAMILIES)}; "
        "another model can be run by an own rerank() in rerank.py"
    )


def _text(files: ModelFiles, name: str) -> str:
    path = files.directory / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""
