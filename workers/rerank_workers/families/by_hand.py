"""Runs a version without a server: `import rerank; rerank.rerank(query, docs)`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rerank_workers.scorer import Context, Item, Scorer


class ByHand:
    """The model beside a `rerank.py`, loaded on first use with the default settings."""

    def __init__(self, file: str, load: Callable[[Context], Scorer]) -> None:
        """Prepare; nothing is loaded yet.

        Args:
            file: the `__file__` of the version's `rerank.py`.
            load: its `load`.
        """
        self._context = _context(Path(file).resolve().parent)
        self._load = load
        self._lock = threading.Lock()
        self._scorer: Scorer | None = None

    def rerank(self, query: str, docs: Sequence[str]) -> list[float]:
        """Score documents against a query; one number in 0..1 each, in order. Blocks."""
        with self._lock:
            if self._scorer is None:
                self._scorer = self._load(self._context)
            scorer = self._scorer
            items = scorer.encode(query, docs)
            raw = [0.0] * len(items)
            for batch in _batches(items, self._context):
                scores = scorer.score([items[index] for index in batch])
                for index, score in zip(batch, scores, strict=True):
                    raw[index] = score
            return list(scorer.to_unit(raw))


def _context(directory: Path) -> Context:
    has_model = (directory / "model").is_dir() or not (directory / "model_cpu").is_dir()
    return Context(
        version=directory.name,
        directory=directory,
        model="model" if has_model else "model_cpu",
        threads=len(os.sched_getaffinity(0)),
    )


def _batches(items: Sequence[Item], context: Context) -> Iterator[Sequence[int]]:
    """Cut the items, longest first, into batches within both limits; one item always fits."""
    batch: list[int] = []
    for index in sorted(range(len(items)), key=lambda index: -items[index].tokens):
        longest = items[batch[0]].tokens if batch else 0
        is_full = len(batch) == context.batch_size
        if batch and (is_full or longest * (len(batch) + 1) > context.max_batch_tokens):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
