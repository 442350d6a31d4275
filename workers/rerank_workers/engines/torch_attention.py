"""Attention over packed rows, each length by itself.

torch's kernel for CPUs computes the tail of a row that is no multiple of its vectors one number at
a time: 105 keys cost nearly twice as much as 112. So each rectangle is widened to a multiple of 16
by letting its rows overlap: what a row sees beyond its end is the beginning of the next one, and a
mask gives that a weight of exactly zero. Nothing is copied, and no number depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rerank_workers.engines.packed import Group, Packed, widened


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of one length, widened."""

    group: Group
    width: int
    mask: Tensor | None
    """0 for a row's own tokens, -inf beyond, (rows or 1, 1, 1, width); None where all are own."""


def spans(packed: Packed, device: torch.device, dtype: torch.dtype) -> tuple[Span, ...]:
    """Prepare the groups of a batch; every layer uses them."""
    found = []
    for group in packed.groups:
        width = widened(group.length)
        own = np.unique(packed.lengths[group.row : group.row + group.rows])
        if len(own) > 1:
            own = packed.lengths[group.row : group.row + group.rows]
        beyond = np.arange(width) >= own[:, None]
        mask = np.where(beyond, -np.inf, 0.0)[:, None, None, :] if beyond.any() else None
        on_device = None if mask is None else torch.from_numpy(mask).to(device, dtype)
        found.append(Span(group, width, on_device))
    return tuple(found)


def attend_all(batch: Sequence[Span], joined: Tensor, heads: int) -> Tensor:
    """Let every token attend to its row.

    Args:
        batch: which rows lie where.
        joined: queries (already scaled), keys and values side by side, (tokens, 3 * width).
        heads: how many heads these hold.

    Returns:
        What each token gathered, (tokens, width).
    """
    tokens, triple = joined.shape
    gathered = joined.new_zeros(tokens, triple // 3)
    for span in batch:
        group = span.group
        query, key, value = _overlapping(span, joined, 3, heads)
        found = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=span.mask, scale=1.0
        )
        own = found.transpose(1, 2)[:, : group.length]
        gathered[group.start : group.end].view(own.shape).copy_(own)
    return gathered


def attend_first(batch: Sequence[Span], queries: Tensor, joined: Tensor, heads: int) -> Tensor:
    """Let the first token of each row attend to its row.

    Args:
        batch: which rows lie where.
        queries: of the first tokens, already scaled, (rows, width).
        joined: keys and values side by side, (tokens, 2 * width).
        heads: how many heads these hold.

    Returns:
        What each first token gathered, (rows, width).
    """
    gathered = torch.empty_like(queries)
    for span in batch:
        group = span.group
        rows = slice(group.row, group.row + group.rows)
        key, value = _overlapping(span, joined, 2, heads)
        found = functional.scaled_dot_product_attention(
            queries[rows].view(group.rows, heads, 1, -1),
            key,
            value,
            attn_mask=span.mask,
            scale=1.0,
        )
        gathered[rows] = found.reshape(group.rows, -1)
    return gathered


def _overlapping(span: Span, joined: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """View a rectangle as `parts` tensors (rows, heads, width, width of a head)."""
    group = span.group
    token = joined.shape[1]
    head = token // parts // heads
    view = joined.as_strided(
        (parts, group.rows, heads, span.width, head),
        (token // parts, group.length * token, head, token, 1),
        joined.storage_offset() + group.start * token,
    )
    return view.unbind(0)
