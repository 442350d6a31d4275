"""Versions to score with: tiny random ones built once, and the demo versions where pulled."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parity import tiny_models

from . import tiny

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT cross-encoder in torch weights."""
    return tiny.torch_version(tmp_path_factory.mktemp("bert"), "BertForSequenceClassification")


@pytest.fixture(scope="session")
def xlmr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XLM-RoBERTa cross-encoder in torch weights."""
    directory = tmp_path_factory.mktemp("xlmr")
    return tiny.torch_version(directory, "XLMRobertaForSequenceClassification")


@pytest.fixture(scope="session")
def plain_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT encoder without a head, in torch weights."""
    return tiny.torch_version(tmp_path_factory.mktemp("plain"), "BertModel")


@pytest.fixture(scope="session")
def demo() -> Callable[[str], Path]:
    """Find a demo version pulled into models/ (or into $RERANK_TEST_MODELS), else skip."""
    models = Path(os.environ.get("RERANK_TEST_MODELS", MODELS))

    def find(version: str) -> Path:
        directory = models / version
        if not (directory / "tokenizer").is_dir():
            pytest.skip(f"{directory} is not there; run: rerank-server pull {version}")
        return directory

    return find


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a tiny language model of `tests.parity.tiny_models` by its name, once."""
    built: dict[str, Path] = {}

    def find(name: str) -> Path:
        if name not in built:
            built[name] = tiny_models.build(name, tmp_path_factory.mktemp(name))
        return built[name]

    return find
