"""Tiny versions with a graph that `optimize` wrote."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from rerank_workers.engines.bert_weights import BertWeights, arrange
from rerank_workers.engines.engine import Output
from rerank_workers.engines.files import IR_NAME, read_model_files
from rerank_workers.engines.torch_weights import read_weights
from rerank_workers.families import cross_encoder
from rerank_workers.families.cross_encoder import CrossEncoder
from rerank_workers.scorer import Context
from tests.families import tiny

Make = Callable[[str, str], Path]
ARCHITECTURES = ("BertForSequenceClassification", "XLMRobertaForSequenceClassification")


def arranged(directory: Path) -> BertWeights:
    """Return the weights of a version's model."""
    files = read_model_files(directory / "model")
    return arrange(files, read_weights(files), Output.LOGIT)


def load(directory: Path, *, use_fp16: bool = True) -> CrossEncoder:
    """Load a version's model_cpu."""
    context = Context("v1", directory, model="model_cpu", threads=2, use_fp16=use_fp16)
    return cross_encoder.load(context)


def write(directory: Path, variant: str) -> Path:
    """Write a variant as the version's model_cpu."""
    from rerank_workers.optimize import variants

    scorer = cross_encoder.load(Context("v1", directory))
    rows = [pair.row for query in tiny.QUERIES for pair in scorer.encode(query, tiny.GRID)]
    folder = directory / "model_cpu"
    folder.mkdir()
    pad_id = read_model_files(directory / "model").pad_token_id or 0
    variants.write(variant, arranged(directory), rows, pad_id, folder / IR_NAME)
    shutil.copyfile(directory / "model" / "config.json", folder / "config.json")
    return directory
