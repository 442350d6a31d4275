"""Which family a model folder is taken for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rerank_workers import families
from rerank_workers.engines.files import ModelFilesError, read_model_files
from rerank_workers.families.registry import detect
from rerank_workers.scorer import Context

from . import tiny

CASES = [
    ("BertForSequenceClassification", {}, "cross_encoder"),
    ("XLMRobertaForSequenceClassification", {}, "cross_encoder"),
    ("ModernBertForSequenceClassification", {}, "cross_encoder"),
    ("LayerWiseMiniCPMForCausalLM", {}, "layerwise"),
    ("CostWiseGemmaForCausalLM", {}, "lightweight"),
    ("GemmaForCausalLM", {}, "yes_logit"),
    ("GemmaForSequenceClassification", {}, "yes_logit"),
    ("Qwen2ForCausalLM", {}, "yes_no"),
    ("Qwen2ForSequenceClassification", {}, "yes_no"),
    ("Qwen3ForCausalLM", {}, "yes_no"),
    ("Qwen3ForSequenceClassification", {}, "yes_no"),
    ("BertModel", {}, "bi_encoder"),
    ("XLMRobertaModel", {}, "bi_encoder"),
    ("HF_ColBERT", {}, "late_interaction"),
    ("BertModel", {"artifact.metadata": "{}"}, "late_interaction"),
    ("ModernBertModel", {"modules.json": '[{"type": "pylate.models.Dense"}]'}, "late_interaction"),
    (
        "BertModel",
        {"config_sentence_transformers.json": '{"model_type": "ColBERT"}'},
        "late_interaction",
    ),
]


@pytest.mark.parametrize(("architecture", "files", "family"), CASES)
def test_a_family_is_told_from_the_models_own_files(
    tmp_path: Path, architecture: str, files: dict[str, str], family: str
) -> None:
    config = json.dumps({"architectures": [architecture]})
    for name, content in {"model.safetensors": "", "config.json": config, **files}.items():
        (tmp_path / name).write_text(content, encoding="utf-8")

    assert detect(read_model_files(tmp_path)) == family


@pytest.mark.parametrize(("hidden", "family"), [(False, "cross_encoder"), (True, "bi_encoder")])
def test_without_a_config_the_onnx_outputs_tell(tmp_path: Path, hidden: bool, family: str) -> None:
    tiny.onnx_version(tmp_path, hidden=hidden)

    assert families.load(Context("v1", tmp_path)).info["family"] == family


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_can_be_named(
    plain_bert: Path, bert: Path, tiny_llm: Callable[[str], Path], family: str
) -> None:
    directory = {
        "cross_encoder": bert,
        "yes_logit": tiny_llm("gemma"),
        "layerwise": tiny_llm("minicpm-layerwise"),
        "lightweight": tiny_llm("gemma2-lightweight"),
        "yes_no": tiny_llm("qwen3"),
    }.get(family, plain_bert)

    assert families.load(Context("v1", directory), family=family).info["family"] == family


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "LlamaForSequenceClassification"])
def test_a_language_model_of_unknown_prompt_is_refused(tmp_path: Path, name: str) -> None:
    config = json.dumps({"architectures": [name]})
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    (tmp_path / "model.safetensors").touch()

    with pytest.raises(ModelFilesError, match=f"{name} is a language model whose prompt is not"):
        detect(read_model_files(tmp_path))


def test_a_config_without_an_architecture_asks_for_the_family(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()

    with pytest.raises(ModelFilesError, match=r"set FAMILY in rerank\.py"):
        detect(read_model_files(tmp_path))


def test_a_misspelt_family_is_refused(bert: Path) -> None:
    with pytest.raises(ModelFilesError, match="no family 'crossencoder'; there are cross_encoder"):
        families.load(Context("v1", bert), family="crossencoder")
