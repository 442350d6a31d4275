"""From a version's config and files to what it wants of a card."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rerank_server.config import VersionConfig
from rerank_server.core.wanted import MB, Wish
from rerank_server.core.weights import SUFFIXES


def wish_of(version: VersionConfig, directory: Path) -> Wish:
    """Return where a version is to run, and what it may do for want of GPU memory."""
    weights = weights_bytes(directory / "model")
    beside = weights_bytes(directory / "model_cpu")
    stand_in = version.cpu_model
    if stand_in == "auto":
        stand_in = "model_cpu" if beside else "model"
    device = version.device
    if device == "auto" and not weights and version.gpu_memory_mb is None:
        device = "cpu"  # nothing of it would lie on a card
    declared = version.gpu_memory_mb
    return Wish(
        device=device,
        fallback_to_cpu=version.fallback_to_cpu,
        threshold_bytes=version.gpu_memory_threshold_mb * MB,
        memory_bytes=None if declared is None else declared * MB,
        weights_bytes=weights,
        stand_in_model=stand_in,
        stand_in_bytes=beside if stand_in == "model_cpu" else weights,
    )


def weights_bytes(folder: Path) -> int:
    """Return the size of the weights in a model folder, of one format where there are several.

    A folder that cannot be read has none: what is wrong with it is told where files are examined.
    """
    sizes = dict.fromkeys(SUFFIXES, 0)
    with contextlib.suppress(OSError):
        for file in folder.rglob("*"):
            if file.suffix in sizes and file.is_file():
                sizes[file.suffix] += file.stat().st_size
    return next((size for size in sizes.values() if size), 0)
