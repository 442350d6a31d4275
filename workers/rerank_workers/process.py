"""What this process takes of memory, for its beats."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(_STATM.read_text().split()[1]) * _PAGE_BYTES


def gpu_bytes(device: str, scorer: object = None) -> int:
    """Return the GPU memory this process holds; 0 off the GPU.

    That is what the scorer itself says in `gpu_memory_bytes`, else torch's figure. Imports
    nothing: a worker that never imported torch has no CUDA context of torch's.
    """
    own = getattr(scorer, "gpu_memory_bytes", None)
    if isinstance(own, int):
        return own
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not device.startswith("cuda") or not cuda.is_initialized():
        return 0
    return int(cuda.memory_reserved())
