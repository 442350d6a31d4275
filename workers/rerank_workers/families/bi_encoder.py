"""Bi-encoders: query and document become one vector each, the raw score is their cosine.

BAAI/bge-*-v1.5 and other sentence-embedding models. A vector is the first token's last state
(pooling "cls", as BGE) or the mean over the tokens, scaled to length 1. Dense layers that some
sentence-transformers models put after the pooling are not applied; such a model is refused.

The unit score is (1 + cosine) / 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from rerank_workers.engines.batch import Floats
from rerank_workers.engines.engine import AUTO
from rerank_workers.engines.files import ModelFiles, ModelFilesError, read_json, read_model_files
from rerank_workers.families import units
from rerank_workers.families.texts import (
    Document,
    TextEncoder,
    documents,
    load_text_encoder,
    normalized,
)
from rerank_workers.scorer import Context, Item

CLS = "cls"
MEAN = "mean"

# From the model cards of BAAI/bge-*-en-v1.5 and BAAI/bge-*-zh-v1.5, for retrieval.
BGE_EN = "Represent this sentence for searching relevant passages: "
BGE_ZH = "为这个句子生成表示以用于检索相关文章："  # noqa: RUF001  the card's own colon


class BiEncoder:
    """A bi-encoder ready to score."""

    def __init__(
        self,
        encoder: TextEncoder,
        *,
        query_instruction: str,
        pooling: str,
        info: Mapping[str, str],
    ) -> None:
        self._encoder = encoder
        self._query_instruction = query_instruction
        self._pooling = pooling
        self._info = info

    @property
    def mixes_requests(self) -> bool:
        """See `Scorer.mixes_requests`."""
        return self._encoder.mixes_requests

    @property
    def info(self) -> Mapping[str, str]:
        """See `Scorer.info`."""
        return self._info

    def encode(self, query: str, docs: Sequence[str]) -> list[Document]:
        """See `Scorer.encode`."""
        return self._encoder.encode(self._query_instruction + query, docs)

    def score(self, items: Sequence[Item]) -> list[float]:
        """See `Scorer.score`."""
        states = self._encoder.states(documents(items))
        return [float(self._vector(query) @ self._vector(doc)) for query, doc in states]

    def to_unit(self, raw: Sequence[float]) -> list[float]:
        """See `Scorer.to_unit`."""
        return units.from_cosine(raw)

    def _vector(self, states: Floats) -> Floats:
        pooled = states[0] if self._pooling == CLS else states.mean(axis=0, dtype=np.float32)
        return normalized(pooled)


def load(
    context: Context,
    *,
    query_instruction: str | None = None,
    pooling: str | None = None,
    engine: str = AUTO,
) -> BiEncoder:
    """Load the bi-encoder of a version.

    Args:
        context: where the files are and how to run them.
        query_instruction: put before every query; None for what the model's own files say.
        pooling: how states become one vector; None for what the model's own files say.
        engine: "torch" for Hugging Face weights, "onnx" for model.onnx, "auto" for what is there.

    Raises:
        ModelFilesError: files are missing, damaged or of another kind.
        DeviceMemoryError: the device has no room for the model.
    """
    files = read_model_files(context.model_dir)
    instruction = own_instruction(files) if query_instruction is None else query_instruction
    pooled_by = own_pooling(files) if pooling is None else pooling
    if pooled_by not in (CLS, MEAN):
        raise ModelFilesError(f"no pooling {pooled_by!r}; there are {CLS} and {MEAN}")
    _refuse_dense(files)
    encoder, settings = load_text_encoder(context, files, engine)
    info = {
        "family": "bi_encoder",
        "activation": "(1 + cosine) / 2",
        "pooling": pooled_by,
        "query_instruction": instruction,
        **settings,
    }
    return BiEncoder(
        encoder, query_instruction=instruction, pooling=pooled_by, info=MappingProxyType(info)
    )


def own_instruction(files: ModelFiles) -> str:
    """Find what goes before a query: sentence-transformers' prompt, else BGE's, else nothing."""
    prompts = read_json(files.directory / "config_sentence_transformers.json").get("prompts")
    if isinstance(prompts, dict) and isinstance(prompts.get("query"), str):
        return str(prompts["query"])
    name = str(files.config.get("_name_or_path", "")).rstrip("/").lower()
    if "bge-" not in name or "bge-m3" in name:
        return ""
    return BGE_ZH if "-zh" in name else BGE_EN


def own_pooling(files: ModelFiles) -> str:
    """Find the pooling in sentence-transformers' file; "cls", as BGE, where there is none.

    Raises:
        ModelFilesError: the model was trained with a pooling not known here.
    """
    path = files.directory / "1_Pooling" / "config.json"
    modes = {key for key, on in read_json(path).items() if key.startswith("pooling_mode") and on}
    if not modes or modes == {"pooling_mode_cls_token"}:
        return CLS
    if modes == {"pooling_mode_mean_tokens"}:
        return MEAN
    raise ModelFilesError(f"{path}: pooling {', '.join(sorted(modes))} is not known")


def _refuse_dense(files: ModelFiles) -> None:
    path = files.directory / "modules.json"
    if not path.is_file():
        return
    modules = json.loads(path.read_text(encoding="utf-8"))
    if any("Dense" in str(module.get("type")) for module in modules):
        raise ModelFilesError(f"{path}: a dense layer after the pooling is not supported")
