"""Scores long documents window by window: `long_docs: chunk`.

What fits is left alone. The rest is cut into windows that fit beside the query, each scored like a
document of its own; a document's score is that of its best window. How many tokens a text takes,
and what fits, is asked of the scorer itself, so this works for every family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rerank_workers.chunks import Span, pieces, windows
from rerank_workers.scorer import Item

Encode: TypeAlias = Callable[[str, Sequence[str]], list[Item]]

LEAST_ROOM = 16
"""Tokens: where the query leaves less for a document, cutting would give fragments, not windows."""
OVERLAP = 8
"""A window repeats up to one part in so many of the one before."""
AT_ONCE = 512
"""How many pieces are measured together: their encoded forms are thrown away at once."""


@dataclass(frozen=True, slots=True)
class Won:
    """Where in a document its best window lies."""

    span: Span
    number: int
    """Which of its windows that is, from 0."""
    count: int
    """How many it has; 1 where the document fits whole."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A request's documents as windows: the items of all, and whose they are."""

    items: list[Item]
    spans: tuple[tuple[Span, ...], ...]
    """The windows of each document; their items follow one another in `items`."""

    def best(self, raw: Sequence[float]) -> tuple[list[float], list[Won]]:
        """Reduce the scores of windows to one a document, the first of the highest."""
        scores: list[float] = []
        won: list[Won] = []
        start = 0
        for spans in self.spans:
            own = raw[start : start + len(spans)]
            number = max(range(len(own)), key=own.__getitem__)
            scores.append(own[number])
            won.append(Won(spans[number], number, len(spans)))
            start += len(spans)
        return scores, won

    def tokens(self) -> list[int]:
        """Count what was read of each document, overlaps twice."""
        return [sum(item.tokens for item in items) for items in self.by_document()]

    def truncated(self) -> list[int]:
        """List the documents of which something was cut off all the same."""
        documents = enumerate(self.by_document())
        return [index for index, items in documents if any(item.truncated for item in items)]

    def by_document(self) -> list[list[Item]]:
        """Group the items by the document they belong to."""
        found: list[list[Item]] = []
        start = 0
        for spans in self.spans:
            found.append(self.items[start : start + len(spans)])
            start += len(spans)
        return found


def cut(encode: Encode, query: str, docs: Sequence[str]) -> Cut:
    """Encode a request, documents that do not fit as several windows. Raises what `encode` does."""
    items = encode(query, docs)
    spans = [(Span(0, len(doc)),) for doc in docs]
    long = [index for index, item in enumerate(items) if item.truncated]
    if not long:
        return Cut(items, tuple(spans))
    (empty,) = encode(query, [""])
    room = max(items[index].tokens for index in long) - empty.tokens
    if room < LEAST_ROOM:
        return Cut(items, tuple(spans))
    windowed = {
        index: _Measure(encode, query, docs[index], empty.tokens).windows(room) for index in long
    }
    return _encoded(encode, query, docs, windowed)


def _encoded(
    encode: Encode, query: str, docs: Sequence[str], windowed: Mapping[int, tuple[Span, ...]]
) -> Cut:
    """Encode all windows at once; one that is too long after all is cut in two until it fits.

    Tokens of a whole are not quite the tokens of its parts.
    """
    while True:
        spans = [windowed.get(index, (Span(0, len(doc)),)) for index, doc in enumerate(docs)]
        texts = [
            span.of(doc) if index in windowed else doc
            for index, doc in enumerate(docs)
            for span in spans[index]
        ]
        cut = Cut(encode(query, texts), tuple(spans))
        shorter = {
            index: tuple(
                part
                for span, item in zip(spans[index], cut.by_document()[index], strict=True)
                for part in (span.halves(docs[index]) if item.truncated else (span,))
            )
            for index in cut.truncated()
            if index in windowed
        }
        if all(windowed[index] == own for index, own in shorter.items()):
            return cut
        windowed = {**windowed, **shorter}


@dataclass(frozen=True, slots=True)
class _Measure:
    """Counts the tokens of one document's pieces."""

    encode: Encode
    query: str
    doc: str
    empty_tokens: int
    """What a pair takes whose document is empty."""

    def windows(self, room: int) -> tuple[Span, ...]:
        parts, tokens = self._pieces(room)
        found = windows(tokens, room, room // OVERLAP)
        return tuple(Span(parts[own.start].start, parts[own.stop - 1].end) for own in found)

    def _pieces(self, room: int) -> tuple[list[Span], list[int]]:
        """Cut into pieces that fit, and count their tokens."""
        # Half a window of English, two of Chinese; what it really takes is measured.
        waiting = pieces(self.doc, 2 * room)
        parts: list[Span] = []
        tokens: list[int] = []
        while waiting:
            some, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            items = self.encode(self.query, [self.doc[span.start : span.end] for span in some])
            for span, item in zip(some, items, strict=True):
                halves = span.halves(self.doc) if item.truncated else (span,)
                if len(halves) == 1:
                    parts.append(span)
                    tokens.append(max(0, item.tokens - self.empty_tokens))
                else:
                    waiting += halves
        order = sorted(range(len(parts)), key=lambda index: parts[index].start)
        return [parts[index] for index in order], [tokens[index] for index in order]
