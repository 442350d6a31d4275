"""Which template a model's config.json asks for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rerank_server.catalog.sources import Family
from rerank_server.catalog.templates import family_of, template

CASES = [
    ("BertForSequenceClassification", Family.CROSS_ENCODER),
    ("XLMRobertaForSequenceClassification", Family.CROSS_ENCODER),
    ("ModernBertForSequenceClassification", Family.CROSS_ENCODER),
    ("LayerWiseMiniCPMForCausalLM", Family.LAYERWISE),
    ("CostWiseGemmaForCausalLM", Family.LIGHTWEIGHT),
    ("GemmaForCausalLM", Family.YES_LOGIT),
    ("Qwen2ForCausalLM", Family.YES_NO),
    ("Qwen3ForCausalLM", Family.YES_NO),
    ("Qwen3ForSequenceClassification", Family.YES_NO),
    ("LlamaForSequenceClassification", Family.ANY),
    ("BertModel", Family.ANY),
]


@pytest.mark.parametrize(("architecture", "family"), CASES)
def test_the_template_follows_from_the_class_the_config_names(
    tmp_path: Path, architecture: str, family: Family
) -> None:
    config = tmp_path / "config.json"
    content = {"architectures": [architecture], "id2label": {"0": "LABEL_0"}}
    config.write_text(json.dumps(content), encoding="utf-8")

    assert family_of(config) is family


@pytest.mark.parametrize("family", Family)
def test_every_family_has_a_template(family: Family) -> None:
    assert "def rerank(query: str, docs: list[str])" in template(family)
