"""Encoder cross-encoders: query and document are read together, one logit is the raw score.

BAAI/bge-reranker-base, -large, -v2-m3, ms-marco-MiniLM and other `*ForSequenceClassification`
models with one label. Input and numbers are those of FlagEmbedding's `FlagReranker`
(inference/reranker/encoder_only/base.py): the query alone is cut to three quarters of max_length,
the pair is framed by the tokenizer's own template, and what exceeds max_length is cut from the
document's end. Texts are not stripped or otherwise changed.

The unit score is the sigmoid of the logit in float64, whatever activation the model's card names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from rerank_workers.engines.batch import Row
from rerank_workers.engines.engine import AUTO, Engine, Output, load_engine
from rerank_workers.engines.files import ModelFilesError, read_model_files
from rerank_workers.families import limits, units
from rerank_workers.families.tokenizer import TextTokenizer, load_tokenizer
from rerank_workers.scorer import Context, Item


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and one document in one row."""

    row: Row
    truncated: bool

    @property
    def tokens(self) -> int:
        """See `Item.tokens`."""
        return len(self.row)


class CrossEncoder:
    """A cross-encoder ready to score."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        engine: Engine,
        *,
        max_length: int,
        info: Mapping[str, str],
        batches_at_once: int = 1,
    ) -> None:
        self.batches_at_once = batches_at_once
        """See `Scorer`."""
        self._tokenizer = tokenizer
        self._engine = engine
        self._max_length = max_length
        self._info = info

    @property
    def mixes_requests(self) -> bool:
        """See `Scorer.mixes_requests`."""
        return self._engine.mixes_requests

    @property
    def info(self) -> Mapping[str, str]:
        """See `Scorer.info`."""
        return self._info

    def encode(self, query: str, docs: Sequence[str]) -> list[Pair]:
        """See `Scorer.encode`."""
        if not docs:
            return []
        frame = self._tokenizer.pair
        (query_ids,) = self._tokenizer.ids([query])
        query_ids = query_ids[: limits.query_share(self._max_length, frame.special_tokens)]
        room = self._max_length - frame.special_tokens - len(query_ids)
        return [
            Pair(frame.row(query_ids, ids[:room]), truncated=len(ids) > room)
            for ids in self._tokenizer.ids(docs)
        ]

    def score(self, items: Sequence[Item]) -> list[float]:
        """See `Scorer.score`."""
        logits: list[float] = self._engine.logits([_row(item) for item in items]).tolist()
        return logits

    def to_unit(self, raw: Sequence[float]) -> list[float]:
        """See `Scorer.to_unit`."""
        return units.sigmoid(raw)


def load(context: Context, *, engine: str = AUTO, trust_remote_code: bool = False) -> CrossEncoder:
    """Load the cross-encoder of a version.

    Args:
        context: where the files are and how to run them.
        engine: "torch" for Hugging Face weights, "onnx" for model.onnx, "auto" for what is there.
        trust_remote_code: run the code that the model's folder brings along.

    Raises:
        ModelFilesError: files are missing, damaged or of another kind.
        DeviceMemoryError: the device has no room for the model.
    """
    files = read_model_files(context.model_dir)
    tokenizer = load_tokenizer(context.tokenizer_dir, files)
    try:
        loaded = load_engine(
            context,
            files,
            Output.LOGIT,
            engine,
            pad_id=tokenizer.pad_id,
            trust_remote_code=trust_remote_code,
        )
    except ModelFilesError as error:
        if trust_remote_code or "auto_map" not in files.config:
            raise
        raise ModelFilesError(
            f"{error}; the model brings code of its own, and no other runs it: read that code, "
            "then set TRUST_REMOTE_CODE = True in rerank.py"
        ) from error
    length = limits.max_length(context, files)
    info = {
        "family": "cross_encoder",
        "activation": "sigmoid",
        "max_length": limits.describe(context, length),
        "tokenizer_file": tokenizer.file,
        **loaded.settings,
    }
    return CrossEncoder(
        tokenizer,
        loaded,
        max_length=length,
        info=MappingProxyType(info),
        batches_at_once=getattr(loaded, "batches_at_once", 1),
    )


def _row(item: Item) -> Row:
    assert isinstance(item, Pair)  # the batcher hands back what `encode` made
    return item.row
