"""Encodes query and documents as texts of their own, each query once per request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rerank_workers.engines.batch import Floats, Row
from rerank_workers.engines.engine import Engine, Output, load_engine
from rerank_workers.engines.files import ModelFiles
from rerank_workers.families import limits
from rerank_workers.families.tokenizer import TextTokenizer, load_tokenizer
from rerank_workers.scorer import Context, Item


class Query:
    """The query of one request, shared by its items; its states are computed with the first."""

    __slots__ = ("row", "states")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.states: Floats | None = None
        """(tokens, width); touched by the device thread only."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document, and the query it is compared with."""

    query: Query
    row: Row
    truncated: bool

    @property
    def tokens(self) -> int:
        """See `Item.tokens`; the query is read once per request and not counted."""
        return len(self.row)


class TextEncoder:
    """Tokenizer and engine of a model that reads one text at a time."""

    def __init__(self, tokenizer: TextTokenizer, engine: Engine, max_length: int) -> None:
        self._tokenizer = tokenizer
        self._engine = engine
        self._max_length = max_length

    @property
    def mixes_requests(self) -> bool:
        """See `Engine.mixes_requests`."""
        return self._engine.mixes_requests

    @property
    def leading(self) -> int:
        """How many special tokens stand before a text."""
        return len(self._tokenizer.single.segments[0].ids)

    @property
    def trailing(self) -> int:
        """How many special tokens stand after a text."""
        return len(self._tokenizer.single.segments[-1].ids)

    def encode(self, query: str, docs: Sequence[str]) -> list[Document]:
        """Tokenize a request; texts are cut to max_length at their end."""
        frame = self._tokenizer.single
        room = max(0, self._max_length - frame.special_tokens)
        query_ids, *docs_ids = self._tokenizer.ids([query, *docs])
        shared = Query(frame.row(query_ids[:room]))
        return [Document(shared, frame.row(ids[:room]), len(ids) > room) for ids in docs_ids]

    def states(self, items: Sequence[Document]) -> list[tuple[Floats, Floats]]:
        """Compute the last states of each item's query and document, (tokens, width) each.

        Queries not seen yet are run one by one before the documents, so that their states are
        the same whatever else is in the batch.
        """
        for item in items:
            if item.query.states is None:
                (item.query.states,) = self._engine.states([item.query.row])
        documents = self._engine.states([item.row for item in items])
        queries = (item.query.states for item in items)
        return [(q, d) for q, d in zip(queries, documents, strict=True) if q is not None]


def load_text_encoder(
    context: Context, files: ModelFiles, engine: str
) -> tuple[TextEncoder, Mapping[str, str]]:
    """Load an encoder for its last states; also returns its settings, for people.

    Raises:
        ModelFilesError: files are missing, damaged or of another kind.
        DeviceMemoryError: the device has no room for the model.
    """
    tokenizer = load_tokenizer(context.tokenizer_dir, files)
    loaded = load_engine(context, files, Output.HIDDEN, engine, pad_id=tokenizer.pad_id)
    length = limits.max_length(context, files)
    settings = {
        "max_length": limits.describe(context, length),
        "tokenizer_file": tokenizer.file,
        **loaded.settings,
    }
    return TextEncoder(tokenizer, loaded, length), settings


def documents(items: Sequence[Item]) -> list[Document]:
    """Narrow the batcher's items to what `TextEncoder.encode` made."""
    assert all(isinstance(item, Document) for item in items)
    return [item for item in items if isinstance(item, Document)]


def normalized(vectors: Floats) -> Floats:
    """Scale vectors (the last axis) to length 1; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Floats = vectors / np.maximum(lengths, np.float32(1e-12))
    return scaled
