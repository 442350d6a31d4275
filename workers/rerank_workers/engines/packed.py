"""Token rows of unequal length, laid end to end: nothing is computed for padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rerank_workers.engines.batch import Row, pad

WIDTH_STEP = 16
"""Floats of one 512-bit vector: attention is computed on rectangles of such a multiple."""


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring rows of one length: the rectangle attention is computed on, without a mask."""

    start: int
    """The first token's place among all tokens."""
    row: int
    """The first row's place among all rows."""
    rows: int
    length: int

    @property
    def end(self) -> int:
        """The place after the last token."""
        return self.start + self.rows * self.length


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows ordered by length; token arrays have shape (tokens,).

    After the last row lie as many spare tokens as its rectangle is widened by, so that one may
    read beyond the end of any row.
    """

    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    places: NDArray[np.int64]
    """Index of each token's position embedding."""
    firsts: NDArray[np.int64]
    """Where each row begins, shape (rows,)."""
    lengths: NDArray[np.int64]
    """Of each row, shape (rows,)."""
    order: NDArray[np.int64]
    """Which of the rows handed in lies here, shape (rows,)."""
    groups: tuple[Group, ...]


def pack(rows: Sequence[Row], offset_pad: int | None) -> Packed:
    """Lay rows end to end, shortest first; `rows` must not be empty.

    Args:
        rows: what the model reads.
        offset_pad: RoBERTa's padding id, from which positions count and which takes no position
            of its own; None where positions count from 0.
    """
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    lengths = np.array([len(rows[index]) for index in order], dtype=np.int64)
    firsts = np.cumsum(lengths) - lengths
    longest = len(rows[order[-1]])
    spare = np.zeros(widened(longest) - longest, dtype=np.int64)
    return Packed(
        ids=np.concatenate([*(rows[index].ids for index in order), spare]),
        types=np.concatenate([*(rows[index].types for index in order), spare]),
        places=np.concatenate([*(_places(rows[index], offset_pad) for index in order), spare]),
        firsts=firsts,
        lengths=lengths,
        order=np.array(order, dtype=np.int64),
        groups=tuple(_groups(lengths.tolist())),
    )


def rectangle(rows: Sequence[Row], offset_pad: int | None, pad_id: int) -> Packed:
    """Lay rows side by side, each padded to one length: a single group, for devices that want it.

    `rows` must not be empty.
    """
    width = widened(max(len(row) for row in rows))
    batch = pad(rows, pad_id, width)
    places = np.zeros_like(batch.ids)
    for index, row in enumerate(rows):
        places[index, : len(row)] = _places(row, offset_pad)
    return Packed(
        ids=batch.ids.reshape(-1),
        types=batch.types.reshape(-1),
        places=places.reshape(-1),
        firsts=np.arange(len(rows), dtype=np.int64) * width,
        lengths=np.array([len(row) for row in rows], dtype=np.int64),
        order=np.arange(len(rows), dtype=np.int64),
        groups=(Group(0, 0, len(rows), width),),
    )


def runs(rows: Sequence[Row], most_tokens: int) -> Iterator[list[int]]:
    """Cut rows, longest first, into the fewest runs of so many tokens, all about as large.

    A run ends with the row that fills its share, so that it may hold `most_tokens` and part of a
    row. Were each filled to the brim, a short rest would take its own pass over the weights.
    """
    left = sum(map(len, rows))
    share = _share(left, most_tokens)
    run: list[int] = []
    tokens = 0
    for index in sorted(range(len(rows)), key=lambda index: -len(rows[index])):
        run.append(index)
        tokens += len(rows[index])
        if tokens >= share:
            yield run
            left -= tokens
            run, tokens, share = [], 0, _share(left, most_tokens)
    if run:
        yield run


def _share(tokens: int, most_tokens: int) -> float:
    return tokens / max(1, -(-tokens // most_tokens))


def widened(length: int) -> int:
    """Round a length up to a multiple of `WIDTH_STEP`."""
    return -(-length // WIDTH_STEP) * WIDTH_STEP


def _places(row: Row, offset_pad: int | None) -> NDArray[np.int64]:
    if offset_pad is None:
        return np.arange(len(row), dtype=np.int64)
    # A padding token written in a text takes none: transformers, create_position_ids_from_input_ids
    real = (row.ids != offset_pad).astype(np.int64)
    places: NDArray[np.int64] = np.cumsum(real) * real + offset_pad
    return places


def _groups(lengths: Sequence[int]) -> Iterator[Group]:
    start = row = 0
    for index, length in enumerate(lengths):
        if index + 1 == len(lengths) or lengths[index + 1] != length:
            rows = index + 1 - row
            if length:
                yield Group(start, row, rows, length)
            start, row = start + rows * length, index + 1
