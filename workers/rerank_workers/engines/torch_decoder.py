"""The forward pass of decoder-only language models in plain torch, for the sake of one position.

It exists beside transformers' own classes because a reranker reads the last token alone: the last
layer computes only that one, layers above a cutoff are never loaded, the keys and values of what
the prompts of a request begin with are computed once, and models whose code lies in their
repository run without it. The numbers are the same.

Rows are padded on the right. A token attends to itself and to what stands before it, so no real
token ever sees padding, and no mask is needed where there is neither prefix nor window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from rerank_workers.engines.torch_linear import Linear

Memory: TypeAlias = tuple[Tensor, Tensor]
"""Keys and values of one layer, (..., key heads, tokens, width of a head) each."""
Past: TypeAlias = tuple[Memory, ...]
"""The memory of a prefix, one pair a layer, without a batch axis."""


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """Scaling to a root mean square of 1; computed in fp32 whatever the model computes in."""

    weight: Tensor
    """In fp32, with the 1 that Gemma adds to it."""
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        return (wide * self.weight).to(x.dtype)


@dataclass(frozen=True, slots=True)
class Turn:
    """Rotary positions of tokens: cosines and sines, (rows, 1, tokens, width of a head), fp32."""

    cosines: Tensor
    sines: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Turn queries or keys, (rows, heads, tokens, width of a head)."""
        wide = x.float()
        low, high = wide.chunk(2, dim=-1)
        turned = wide * self.cosines + torch.cat((-high, low), dim=-1) * self.sines
        return turned.to(x.dtype)


@dataclass(frozen=True, slots=True)
class Attention:
    """Causal attention with grouped key heads."""

    query: Linear
    key: Linear
    value: Linear
    output: Linear
    query_norm: RmsNorm | None
    key_norm: RmsNorm | None
    head_width: int
    scale: float
    softcap: float | None
    window: int | None
    """How many tokens back one may look, itself included; None for all."""

    def remember(self, x: Tensor, turn: Turn) -> Memory:
        """Compute keys and values of tokens, (rows, tokens, width)."""
        keys = self._heads(self.key(x))
        if self.key_norm is not None:
            keys = self.key_norm(keys)
        return turn(keys), self._heads(self.value(x))

    def attend(self, x: Tensor, turn: Turn, memory: Memory, mask: Tensor | None) -> Tensor:
        """Compute what tokens take from the memory; without a mask, causally from the first."""
        queries = self._heads(self.query(x))
        if self.query_norm is not None:
            queries = self.query_norm(queries)
        queries = turn(queries)
        if self.softcap is None:
            taken = functional.scaled_dot_product_attention(
                queries,
                *memory,
                attn_mask=mask,
                is_causal=mask is None,
                scale=self.scale,
                enable_gqa=queries.shape[1] != memory[0].shape[1],
            )
        else:
            taken = self._capped(queries, memory, mask, self.softcap)
        return self.output(taken.transpose(1, 2).flatten(2))

    def _capped(
        self, queries: Tensor, memory: Memory, mask: Tensor | None, softcap: float
    ) -> Tensor:
        groups = queries.shape[1] // memory[0].shape[1]
        keys, values = (part.repeat_interleave(groups, dim=1) for part in memory)
        alike = queries @ keys.transpose(2, 3) * self.scale
        alike = torch.tanh(alike / softcap) * softcap
        if mask is None:
            mask = torch.ones(alike.shape[-2:], dtype=torch.bool, device=alike.device).tril()
        weights = alike.masked_fill(~mask, -torch.inf).softmax(dim=-1, dtype=torch.float32)
        return weights.to(values.dtype) @ values

    def _heads(self, x: Tensor) -> Tensor:
        """(rows, tokens, heads * width) to (rows, heads, tokens, width)."""
        rows, tokens, width = x.shape
        return x.view(rows, tokens, width // self.head_width, self.head_width).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Layer:
    """Attention and a gated MLP, each with its norms, added to the running state."""

    attention_norm: RmsNorm
    attention: Attention
    attended_norm: RmsNorm | None
    mlp_norm: RmsNorm
    gate: Linear
    up: Linear
    down: Linear
    activation: Callable[[Tensor], Tensor]
    mapped_norm: RmsNorm | None
    residual_scale: float

    def __call__(
        self, x: Tensor, normed: Tensor, turn: Turn, memory: Memory, mask: Tensor | None
    ) -> Tensor:
        """Compute the new state of tokens whose state is `x`, and normed `normed`."""
        taken = self.attention.attend(normed, turn, memory, mask)
        x = x + self._scaled(taken, self.attended_norm)
        inner = self.mlp_norm(x)
        mapped = self.down(self.activation(self.gate(inner)) * self.up(inner))
        return x + self._scaled(mapped, self.mapped_norm)

    def _scaled(self, x: Tensor, norm: RmsNorm | None) -> Tensor:
        x = x if norm is None else norm(x)
        return x if self.residual_scale == 1.0 else x * self.residual_scale


@dataclass(frozen=True, slots=True)
class Rows:
    """The state of a batch between two layers."""

    x: Tensor
    """(rows, longest, width), padded on the right."""
    lengths: Tensor
    """Real tokens of each row."""
    starts: Tensor
    """Tokens of each row's prefix: the position of its first token here."""
    longest_prefix: int

    @property
    def places(self) -> Tensor:
        """Position of every token, (rows, longest)."""
        return self.starts[:, None] + torch.arange(self.x.shape[1], device=self.x.device)

    def mask(self, places: Tensor, window: int | None) -> Tensor:
        """Tell what tokens at `places` may attend to: (rows, 1, tokens, prefix + longest)."""
        before = torch.arange(self.longest_prefix, device=self.x.device).expand(len(self.x), -1)
        keys = torch.cat((before, self.places), dim=1)[:, None, :]
        distance = places[:, :, None] - keys
        allowed = distance >= 0
        allowed[:, :, : self.longest_prefix] &= (before < self.starts[:, None])[:, None, :]
        if window is not None:
            allowed &= distance < window
        return allowed[:, None]


Change: TypeAlias = Callable[[int, Rows], Rows]
"""May change the rows before the layer of that number."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """The model up to and including its final norm; `layers` are those that are used."""

    words: Tensor
    word_scale: float
    layers: tuple[Layer, ...]
    norm: RmsNorm
    frequencies: Tensor
    """Of the rotary positions, (half the width of a head), fp32."""

    def remember(self, ids: Tensor) -> Past:
        """Compute the memory of a prefix, (tokens,)."""
        x = self._embed(ids[None])
        turn = self._turn(torch.arange(len(ids), device=ids.device)[None])
        lengths = torch.tensor([len(ids)], device=ids.device)
        rows = Rows(x, lengths, torch.zeros_like(lengths), 0)
        past: list[Memory] = []
        for index, layer in enumerate(self.layers):
            normed = layer.attention_norm(x)
            keys, values = layer.attention.remember(normed, turn)
            past.append((keys[0], values[0]))
            if index < len(self.layers) - 1:
                mask = _mask(rows, rows.places, layer.attention.window)
                x = layer(x, normed, turn, (keys, values), mask)
        return tuple(past)

    def read_last(
        self,
        ids: Tensor,
        lengths: Tensor,
        pasts: Sequence[Past | None],
        change: Change | None = None,
    ) -> Tensor:
        """Compute the final state of each row's last token, (rows, width).

        Args:
            ids: what follows the prefixes, (rows, longest), padded on the right.
            lengths: real tokens of each row.
            pasts: the memory of each row's prefix; None where a row has none.
            change: what is done to the rows before each layer.
        """
        sizes = [0 if past is None else past[0][0].shape[1] for past in pasts]
        starts = torch.tensor(sizes, device=ids.device)
        rows = Rows(self._embed(ids), lengths, starts, max(sizes))
        for index, layer in enumerate(self.layers):
            if change is not None:
                rows = change(index, rows)
            normed, places = layer.attention_norm(rows.x), rows.places
            turn = self._turn(places)
            memory = _behind(pasts, index, layer.attention.remember(normed, turn))
            x, is_last = rows.x, index == len(self.layers) - 1
            if is_last:
                here = torch.arange(len(x), device=x.device), rows.lengths - 1
                x, normed, places = (part[here][:, None] for part in (x, normed, places))
                turn = self._turn(places)
                mask: Tensor | None = rows.mask(places, layer.attention.window)
            else:
                mask = _mask(rows, places, layer.attention.window)
            x = layer(x, normed, turn, memory, mask)
            rows = Rows(x, rows.lengths, rows.starts, rows.longest_prefix)
        return self.norm(rows.x[:, 0])

    def _embed(self, ids: Tensor) -> Tensor:
        words = self.words[ids]
        if self.word_scale == 1.0:
            return words
        # Rounded to what the model computes in before it is applied, as the models were trained.
        return words * torch.tensor(self.word_scale, dtype=words.dtype, device=words.device)

    def _turn(self, places: Tensor) -> Turn:
        angles = places[:, None, :, None].float() * self.frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return Turn(angles.cos(), angles.sin())


def _mask(rows: Rows, places: Tensor, window: int | None) -> Tensor | None:
    """No mask where plain causal attention says the same."""
    is_narrow = window is not None and window < rows.x.shape[1]
    return rows.mask(places, window) if rows.longest_prefix or is_narrow else None


def _behind(pasts: Sequence[Past | None], layer: int, own: Memory) -> Memory:
    """Put each row's own keys and values behind those of its prefix."""
    first = pasts[0]
    if all(past is first for past in pasts):
        if first is None:
            return own
        keys, values = (part.expand(len(pasts), -1, -1, -1) for part in first[layer])
    else:
        keys, values = (
            _stacked([None if past is None else past[layer][part] for past in pasts], own[part])
            for part in (0, 1)
        )
    return torch.cat((keys, own[0]), dim=2), torch.cat((values, own[1]), dim=2)


def _stacked(parts: Sequence[Tensor | None], own: Tensor) -> Tensor:
    """Lay prefixes of unequal length side by side, zeros behind the shorter ones."""
    longest = max(0 if part is None else part.shape[1] for part in parts)
    stacked = own.new_zeros(len(parts), own.shape[1], longest, own.shape[3])
    for row, part in zip(stacked, parts, strict=True):
        if part is not None:
            row[:, : part.shape[1]] = part
    return stacked
