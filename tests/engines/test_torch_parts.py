"""The parts of the torch forward pass, each against torch's own plain form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from rerank_workers.engines.batch import Row
from rerank_workers.engines.packed import Packed, pack, rectangle
from rerank_workers.engines.torch_attention import attend_all, attend_first, spans
from rerank_workers.engines.torch_linear import (
    GELU,
    GELU_TANH,
    RELU,
    Activation,
    Linear,
    can_prepack,
    linear,
)

CPU = torch.device("cpu")
HEADS, WIDTH = 4, 32
LENGTHS = (16, 5, 1, 33, 5, 48, 17)
LAYOUTS = ("packed", "rectangle")


def packed(layout: str) -> Packed:
    rows = [Row(np.zeros(n, np.int32), np.zeros(n, np.uint8)) for n in LENGTHS]
    return pack(rows, None) if layout == "packed" else rectangle(rows, None, 0)


def own(x: torch.Tensor, laid: Packed, index: int) -> torch.Tensor:
    """Tokens of a row as heads, (heads, tokens, width of a head)."""
    first = int(laid.firsts[index])
    tokens = x[first : first + int(laid.lengths[index])]
    return tokens.view(len(tokens), HEADS, -1).transpose(0, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_attends_to_itself_alone(layout: str) -> None:
    laid = packed(layout)
    joined = torch.randn(len(laid.ids), 3 * WIDTH, generator=torch.Generator().manual_seed(3))
    query, key, value = joined.chunk(3, dim=1)

    found = attend_all(spans(laid, CPU, torch.float32), joined, HEADS)

    for index in range(len(LENGTHS)):
        q, k, v = (own(x, laid, index) for x in (query, key, value))
        expected = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
        torch.testing.assert_close(own(found, laid, index), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_first_token_attends_to_its_row_alone(layout: str) -> None:
    laid = packed(layout)
    random = torch.Generator().manual_seed(4)
    joined = torch.randn(len(laid.ids), 2 * WIDTH, generator=random)
    queries = torch.randn(len(LENGTHS), WIDTH, generator=random)
    key, value = joined.chunk(2, dim=1)

    found = attend_first(spans(laid, CPU, torch.float32), queries, joined, HEADS)

    for index in range(len(LENGTHS)):
        query = queries[index].view(HEADS, 1, -1)
        k, v = own(key, laid, index), own(value, laid, index)
        expected = functional.scaled_dot_product_attention(query, k, v, scale=1.0)
        torch.testing.assert_close(found[index].view(HEADS, 1, -1), expected, atol=1e-5, rtol=0)


def test_what_stands_beyond_a_row_never_changes_it() -> None:
    laid = packed("packed")
    batch = spans(laid, CPU, torch.float32)
    joined = torch.randn(len(laid.ids), 3 * WIDTH, generator=torch.Generator().manual_seed(5))
    other = joined.clone()
    longest = int(laid.firsts[-1])
    other[longest:] = 1e30

    before, after = (attend_all(batch, x, HEADS)[:longest] for x in (joined, other))

    assert torch.equal(before, after)


@pytest.mark.parametrize("activation", [GELU, GELU_TANH, RELU])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_prepacked_layer_computes_what_a_plain_one_does(
    dtype: torch.dtype, activation: Activation
) -> None:
    if not can_prepack(dtype):
        pytest.skip(f"this torch does not prepack {dtype}")
    random = torch.Generator().manual_seed(6)
    weight, bias, x, residual = (
        torch.randn(*shape, generator=random).to(dtype)
        for shape in ((64, 32), (64,), (7, 32), (7, 64))
    )
    fast = linear(weight, bias, CPU, dtype)
    plain = Linear(weight, bias, is_prepacked=False)

    assert fast.is_prepacked
    tolerance = 1e-5 if dtype is torch.float32 else 0.13  # two roundings at about 16
    for found, expected in (
        (fast(x), plain(x)),
        (fast.activated(x, activation), plain.activated(x, activation)),
        (fast.added(x, residual), plain.added(x, residual)),
    ):
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def test_a_type_the_private_operators_refuse_is_computed_plainly() -> None:
    weight, bias = torch.ones(8, 8, dtype=torch.float64), torch.ones(8, dtype=torch.float64)

    layer = linear(weight, bias, CPU, torch.float64)

    assert not layer.is_prepacked
    assert layer(torch.ones(2, 8, dtype=torch.float64)).tolist() == [[9.0] * 8] * 2
