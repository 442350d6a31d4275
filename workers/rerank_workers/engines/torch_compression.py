"""Merges the tokens of passages between two layers, as bge-reranker-v2.5-gemma2-lightweight does.

Before some layers, every `ratio` neighbouring tokens of a row's passage become their mean (the
last group is what is left over); what stands before and behind the passage stays. Positions are
counted anew. FlagEmbedding/inference/reranker/decoder_only/models/gemma_model.py, token_compress.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rerank_workers.engines.torch_decoder import Rows


class Compressor:
    """Follows the passages of one batch from layer to layer."""

    def __init__(
        self, passages: Sequence[tuple[int, int]], ratio: int, before_layers: frozenset[int]
    ) -> None:
        """Prepare.

        Args:
            passages: where each row's passage begins and ends.
            ratio: how many tokens become one.
            before_layers: numbers of the layers before which it happens.
        """
        self._passages = list(passages)
        self._ratio = ratio
        self._before_layers = before_layers

    def __call__(self, layer: int, rows: Rows) -> Rows:
        """See `torch_decoder.Change`."""
        if layer == 0 or layer not in self._before_layers:
            return rows
        shorter: list[Tensor] = []
        for index, length in enumerate(rows.lengths.tolist()):
            start, stop = self._passages[index]
            state = rows.x[index, :length]
            merged = means(state[start:stop], self._ratio)
            self._passages[index] = (start, start + len(merged))
            shorter.append(torch.cat((state[:start], merged, state[stop:])))
        lengths = torch.tensor([len(row) for row in shorter], device=rows.x.device)
        padded = torch.nn.utils.rnn.pad_sequence(shorter, batch_first=True)
        return Rows(padded, lengths, rows.starts, rows.longest_prefix)


def means(x: Tensor, ratio: int) -> Tensor:
    """Average every `ratio` rows of (tokens, width); the last group may be smaller."""
    if len(x) == 0:
        return x
    whole = len(x) // ratio * ratio
    groups = [x[:whole].view(whole // ratio, ratio, x.shape[1]).mean(dim=1)]
    if whole < len(x):
        groups.append(x[whole:].mean(dim=0, keepdim=True))
    return torch.cat(groups)
