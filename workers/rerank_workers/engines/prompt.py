"""What a decoder-only model reads for one pair: a prefix shared within a request, then the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


class Prefix:
    """The tokens all prompts of one request begin with; engines know one by its identity."""

    __slots__ = ("__weakref__", "ids")

    def __init__(self, ids: Ids) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One pair, ready to be read."""

    prefix: Prefix
    """May be empty."""
    ids: Ids
    """What follows the prefix; never empty."""
    truncated: bool
    passage: tuple[int, int] = (0, 0)
    """Where in `ids` the passage begins and ends; told to models that compress it."""

    @property
    def tokens(self) -> int:
        """See `Item.tokens`."""
        return len(self.prefix) + len(self.ids)
