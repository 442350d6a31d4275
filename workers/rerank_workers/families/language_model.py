"""What the families of LLM rerankers share: prompts in, one number at the last token out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from rerank_workers.engines.decoder import DecoderEngine
from rerank_workers.engines.files import ModelFiles, ModelFilesError, read_json
from rerank_workers.engines.prompt import Ids, Prefix, Prompt
from rerank_workers.families import units
from rerank_workers.families.tokenizer import TextTokenizer
from rerank_workers.scorer import Context, Item

_SHORTEST_PREFIX = 4
"""Fewer shared tokens than these are not worth a pass of their own."""


@dataclass(frozen=True, slots=True)
class Written:
    """The whole prompt of one pair."""

    ids: Ids
    passage: tuple[int, int]
    """Where the passage begins and ends in `ids`."""
    truncated: bool


Writer: TypeAlias = Callable[[str, Sequence[str]], list[Written]]
"""Writes the prompts of one query and its documents, in order."""


class LanguageModel:
    """An LLM reranker ready to score."""

    def __init__(self, write: Writer, engine: DecoderEngine, info: Mapping[str, str]) -> None:
        self._write = write
        self._engine = engine
        self._info = info

    @property
    def mixes_requests(self) -> bool:
        """See `Scorer.mixes_requests`; rows never meet."""
        return True

    @property
    def info(self) -> Mapping[str, str]:
        """See `Scorer.info`."""
        return self._info

    def encode(self, query: str, docs: Sequence[str]) -> list[Prompt]:
        """See `Scorer.encode`."""
        if not docs:
            return []
        written = self._write(query, docs)
        return share_prefix(written, longest=None if self._engine.shares_prefixes else 0)

    def score(self, items: Sequence[Item]) -> list[float]:
        """See `Scorer.score`."""
        return self._engine.run([_prompt(item) for item in items])

    def to_unit(self, raw: Sequence[float]) -> list[float]:
        """See `Scorer.to_unit`."""
        return units.sigmoid(raw)


def share_prefix(written: Sequence[Written], longest: int | None = None) -> list[Prompt]:
    """Split what all prompts of a request begin with from the rest; at most `longest` tokens.

    It ends before the passages do begin, so that those are whole.
    """
    limit = min(one.passage[0] for one in written)
    limit = limit if longest is None else min(limit, longest)
    first = written[0].ids[:limit]
    for one in written[1:]:
        differs = np.flatnonzero(one.ids[: len(first)] != first)
        first = first[: differs[0]] if len(differs) else first
    if len(written) == 1 or len(first) < _SHORTEST_PREFIX:
        first = first[:0]
    prefix, size = Prefix(first), len(first)
    return [
        Prompt(
            prefix,
            one.ids[size:],
            one.truncated,
            (one.passage[0] - size, one.passage[1] - size),
        )
        for one in written
    ]


def special_id(
    name: str, tokenizer: TextTokenizer, context: Context, files: ModelFiles
) -> int | None:
    """Find the id of the tokenizer's "bos_token" or "pad_token"; None where it has none."""
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        stated = read_json(context.tokenizer_dir / file)
        if name in stated:
            token = stated[name]
            token = token.get("content") if isinstance(token, Mapping) else token
            return tokenizer.token_id(token) if isinstance(token, str) else None
    number = files.config.get(f"{name}_id")
    return number if isinstance(number, int) else None


def first_token(text: str, tokenizer: TextTokenizer) -> int:
    """Find the first token of a text.

    Raises:
        ModelFilesError: the tokenizer makes nothing of it.
    """
    (ids,) = tokenizer.ids([text])
    if not ids:
        raise ModelFilesError(f"{tokenizer.file}: {text!r} is no token of this tokenizer")
    return ids[0]


def _prompt(item: Item) -> Prompt:
    assert isinstance(item, Prompt)  # the batcher hands back what `encode` made
    return item
