"""Finds the template that becomes a version's `rerank.py`.

The templates belong to the worker package. Its files are read as data; it is never imported here.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from rerank_server.catalog.sources import Family
from rerank_server.errors import CatalogError

_ENCODER = r"(?!Qwen|Llama|Gemma|Mistral|MiniCPM|Phi)\w+ForSequenceClassification$"
_LANGUAGE_MODELS: Mapping[str, Family] = MappingProxyType(
    {
        "LayerWiseMiniCPMForCausalLM": Family.LAYERWISE,
        "CostWiseGemmaForCausalLM": Family.LIGHTWEIGHT,
        "GemmaForCausalLM": Family.YES_LOGIT,
        "GemmaForSequenceClassification": Family.YES_LOGIT,
        "Qwen2ForCausalLM": Family.YES_NO,
        "Qwen2ForSequenceClassification": Family.YES_NO,
        "Qwen3ForCausalLM": Family.YES_NO,
        "Qwen3ForSequenceClassification": Family.YES_NO,
    }
)


def template(family: Family) -> str:
    """Read the template for a family of models.

    Raises:
        CatalogError: the worker package is not installed or lacks the template.
    """
    path = directory() / f"{family.value}.py"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogError(f"{path}: no template for {family.value} ({error.strerror})") from error


def family_of(config: Path) -> Family:
    """Choose the template by a model's config.json; without one it is told when loaded.

    An encoder without a head gets the general template: the file does not say whether its states
    are pooled or compared token by token.

    Raises:
        CatalogError: config.json is not JSON, or has another number of labels than one.
    """
    if not config.is_file():
        return Family.ANY
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        architectures = [str(name) for name in content.get("architectures") or ()]
        labels = len(content.get("id2label") or {"0": "LABEL_0"})
    except (ValueError, AttributeError, TypeError) as error:
        raise CatalogError(f"{config.name}: not a model's config.json ({error})") from error
    for name in architectures:
        if name in _LANGUAGE_MODELS:
            return _LANGUAGE_MODELS[name]
    # Other language models need a prompt; the general template says so when it is loaded.
    if not any(re.match(_ENCODER, name) for name in architectures):
        return Family.ANY
    if labels != 1:
        raise CatalogError(f"{config.name}: the model has {labels} labels; a reranker has one")
    return Family.CROSS_ENCODER


def directory() -> Path:
    """Locate the templates of the worker package beside this installation.

    Raises:
        CatalogError: the worker package is not installed.
    """
    # A top-level name is located without being imported.
    spec = importlib.util.find_spec("rerank_workers")
    if spec is None or spec.origin is None:
        raise CatalogError("the package rerank_workers is not installed beside rerank_server")
    return Path(spec.origin).parent / "templates"
