"""What an OpenVINO graph of ours says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from rerank_workers.engines.files import ModelFilesError

BFLOAT16 = "bfloat16"
"""Nothing quantised: half precision where the CPU has it."""
DYNAMIC = "int8 dynamic"
"""Weights in int8, activations scaled group by group while it runs: needs no calibration."""
STATIC = "int8 static"
"""Weights and activations in int8, with scales found on the user's own texts."""
VARIANTS = (BFLOAT16, DYNAMIC, STATIC)

KEY = ("rerank_server", "variant")


class _Model(Protocol):
    def has_rt_info(self, path: list[str]) -> bool: ...

    def get_rt_info(self, path: list[str]) -> _Value: ...


class _Value(Protocol):
    def astype(self, kind: type[str]) -> str: ...


def variant_of(model: _Model, path: Path) -> str:
    """Read the variant from a graph.

    Raises:
        ModelFilesError: the graph was not made by `optimize`.
    """
    variant = model.get_rt_info(list(KEY)).astype(str) if model.has_rt_info(list(KEY)) else ""
    if variant not in VARIANTS:
        raise ModelFilesError(f"{path}: not made by `rerank-server optimize`")
    return variant
