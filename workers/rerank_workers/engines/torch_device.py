"""What every torch engine asks of its device: a number format, and a name for lack of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rerank_workers.scorer import DeviceMemoryError


def choose_dtype(device: torch.device, use_fp16: bool) -> torch.dtype:
    """Pick what the model computes in: half precision only where the hardware gains by it."""
    if device.type == "cuda" and use_fp16:
        return torch.float16
    return torch.float32


@contextmanager
def device_memory(what: str) -> Iterator[None]:
    """Translate an allocation failure of either device into a `DeviceMemoryError`."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DeviceMemoryError(f"no memory for {what}") from error
    except RuntimeError as error:
        # The CPU allocator has no exception class of its own.
        if "can't allocate memory" not in str(error):
            raise
        raise DeviceMemoryError(f"no memory for {what}") from error
