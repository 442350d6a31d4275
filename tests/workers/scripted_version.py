"""A version without a model: each document says what becomes of it. Copied as a `rerank.py`.

"0.7" gets that score; "nan", "raise", "short" (one score too few), "outside", "memory" (the device
has no room, whatever the batch), "pair" (no room unless alone) and "exit" do what they say;
"gate" says through the fifo `arrived` that its batch began, and waits at the fifo `gate`.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rerank_workers.scorer import Context, DeviceMemoryError


@dataclass(frozen=True)
class Item:
    text: str
    tokens: int
    truncated: bool


class Scripted:
    mixes_requests = True

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def info(self) -> Mapping[str, str]:
        names = ("OMP_NUM_THREADS", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "SECRET")
        found = {name: os.environ.get(name, "") for name in names}
        return {
            **found,
            "threads": str(self._context.threads),
            "torch": str("torch" in sys.modules),
        }

    def encode(self, query: str, docs: Sequence[str]) -> Sequence[Item]:
        if query == "raise":
            raise ValueError("the query said so")
        return [Item(doc, len(doc), len(doc) > 400) for doc in docs]

    def score(self, items: Sequence[Item]) -> Sequence[float]:
        with Path("scored").open("a") as record:
            record.writelines(f"{item.text}\n" for item in items)
        texts = [item.text for item in items]
        scores = [_score(text, texts) for text in texts]
        return scores[1:] if "short" in texts else scores

    def to_unit(self, raw: Sequence[float]) -> Sequence[float]:
        return raw


def _score(text: str, batch: Sequence[str]) -> float:
    match text:
        case "nan":
            return math.nan
        case "raise":
            raise RuntimeError("the document said so")
        case "outside":
            return 1.5
        case "memory":
            raise DeviceMemoryError("asked for 9 GB, 1 GB is free")
        case "pair" if len(batch) > 1:
            raise DeviceMemoryError("only one at a time")
        case "exit":
            os._exit(9)
        case "gate":
            Path("arrived").write_bytes(b"")
            Path("gate").read_bytes()
    return float(text) if text.startswith("0.") else 0.5


def load(context: Context) -> Scripted:
    return Scripted(context)


def rerank(query: str, docs: list[str]) -> list[float]:
    return [_score(doc, docs) for doc in docs]
