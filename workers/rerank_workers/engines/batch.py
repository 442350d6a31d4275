"""Token rows of unequal length, padded into the rectangle a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Row:
    """One input of the model; rows wait in a queue, so they are kept in narrow integers."""

    ids: NDArray[np.int32]
    types: NDArray[np.uint8]
    """Token types (segments), one per id; all zero where the model knows none."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded on the right to the longest of them; each array has shape (rows, longest)."""

    ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    """1 where a token is real, 0 where it is padding."""
    types: NDArray[np.int64]


def pad(rows: Sequence[Row], pad_id: int, width: int | None = None) -> Batch:
    """Lay rows side by side, as wide as told or as the longest is; `rows` must not be empty."""
    shape = (len(rows), width or max(len(row) for row in rows))
    ids = np.full(shape, pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    types = np.zeros(shape, dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row.ids
        mask[index, : len(row)] = 1
        types[index, : len(row)] = row.types
    return Batch(ids, mask, types)
