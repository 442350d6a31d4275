"""Linear layers whose weights lie in the order the processor's kernels read them.

oneDNN reorders a plain weight on every call; `mkldnn::_reorder_linear_weight` does it once. It and
`mkldnn::_linear_pointwise`, which also applies the activation or adds the residual while a tile is
in the cache, are what torch's own compiler emits, but private: where one is missing or refuses,
the layer is `torch.nn.functional.linear`, with the same numbers within rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

_TYPICAL_TOKENS = 1024  # the row count oneDNN lays a weight out for; other counts run as well

Activation: TypeAlias = tuple[str, str]
"""Name and variant, as `_linear_pointwise` wants them."""

GELU: Activation = ("gelu", "none")
GELU_TANH: Activation = ("gelu", "tanh")
RELU: Activation = ("relu", "")

_PLAIN: dict[Activation, Callable[[Tensor], Tensor]] = {
    GELU: functional.gelu,
    GELU_TANH: lambda x: functional.gelu(x, approximate="tanh"),
    RELU: functional.relu,
}


@dataclass(frozen=True, slots=True)
class Linear:
    """Weight (out, in), plain or reordered, and bias (out) where there is one."""

    weight: Tensor
    bias: Tensor | None
    is_prepacked: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to the last axis, (..., in) to (..., out)."""
        if self.is_prepacked:
            return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]  # untyped
                x, self.weight, self.bias, "none", [], ""
            )
        return functional.linear(x, self.weight, self.bias)

    def activated(self, x: Tensor, activation: Activation) -> Tensor:
        """Apply, then the activation."""
        if self.is_prepacked:
            name, variant = activation
            return torch.ops.mkldnn._linear_pointwise(  # type: ignore[no-any-return]  # untyped
                x, self.weight, self.bias, name, [], variant
            )
        return _PLAIN[activation](functional.linear(x, self.weight, self.bias))

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        """Apply, and add what the layer goes around."""
        if self.is_prepacked:
            return torch.ops.mkldnn._linear_pointwise.binary(  # type: ignore[no-any-return]
                x, residual, self.weight, self.bias, "add"
            )
        return functional.linear(x, self.weight, self.bias) + residual


def linear(weight: Tensor, bias: Tensor | None, device: torch.device, dtype: torch.dtype) -> Linear:
    """Take over a weight for a device, prepacked where that is possible."""
    weight = weight.to(device, dtype).contiguous()
    bias = None if bias is None else bias.to(device, dtype, copy=True)
    if device.type == "cpu" and can_prepack(dtype):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, _TYPICAL_TOKENS)
        return Linear(packed, bias, is_prepacked=True)
    return Linear(weight, bias, is_prepacked=False)


@functools.cache
def can_prepack(dtype: torch.dtype) -> bool:
    """Try the private operators on a small layer of this type."""
    x, weight = torch.ones(4, 32, dtype=dtype), torch.ones(32, 32, dtype=dtype)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, _TYPICAL_TOKENS)
        layer = Linear(packed, torch.zeros(32, dtype=dtype), is_prepacked=True)
        results = [layer(x), layer.activated(x, GELU), layer.added(x, torch.zeros_like(x))]
    # Absent operator, wrong signature, refused type: each torch has its own way to say so.
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False
    return all(bool((result - 32).abs().max() < 0.5) for result in results)
