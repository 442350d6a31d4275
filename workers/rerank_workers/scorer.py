"""What a version's `rerank.py` may provide beside `rerank`: the interface the batcher works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class DeviceMemoryError(Exception):
    """The device has no room for the model, or for one single pair."""


class Item(Protocol):
    """One query-document pair, encoded."""

    @property
    def tokens(self) -> int:
        """Real (unpadded) tokens the model reads for this pair."""

    @property
    def truncated(self) -> bool:
        """Whether the document was cut to fit."""


class Scorer(Protocol):
    """A loaded model. `encode` may be called from another thread than `score`, at the same time.

    One that keeps its model on a GPU without torch may have an integer `gpu_memory_bytes` as
    well: what it takes of the card now, for placement. It is read once a second. One that cuts what
    it is given into batches itself may have an integer `batches_at_once`: how many times
    `batch_size` pairs one call of `score` may bring, within `max_batch_tokens` as ever.
    """

    @property
    def mixes_requests(self) -> bool:
        """Whether a pair's score is the same next to strangers' documents (may share a batch)."""

    @property
    def info(self) -> Mapping[str, str]:
        """Effective settings for people: family, engine, dtype, activation, max_length, files."""

    def encode(self, query: str, docs: Sequence[str]) -> Sequence[Item]:
        """Tokenize one query against its documents; one item per document, in order."""

    def score(self, items: Sequence[Item]) -> Sequence[float]:
        """Score encoded pairs on the device.

        Returns one raw fp32 score per item, in order; higher is more relevant. Blocks.

        Raises:
            DeviceMemoryError: the batch did not fit; the caller splits it and tries again.
        """

    def to_unit(self, raw: Sequence[float]) -> Sequence[float]:
        """Map raw scores to float64 in 0..1, monotone in raw."""


@dataclass(frozen=True)
class Context:
    """What `load(context)` is given: where the files are and how to run them."""

    version: str
    directory: Path
    """The version's directory; `model` and `tokenizer` live in it."""
    model: str = "model"
    """Name of the model folder to load: "model" or "model_cpu"."""
    device: str = "cpu"
    """"cpu" or "cuda:0" (a worker sees only its own card)."""
    batch_size: int = 16
    max_length: int = 512
    max_batch_tokens: int = 8192
    use_fp16: bool = True
    threads: int = 1
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_dir(self) -> Path:
        """The folder with the weights."""
        return self.directory / self.model

    @property
    def tokenizer_dir(self) -> Path:
        """The folder with the tokenizer; the model folder when there is none of its own."""
        own = self.directory / "tokenizer"
        return own if own.is_dir() else self.model_dir
