"""Which files of a version's model folder are its weights, by their names."""

from __future__ import annotations

SUFFIXES = (".safetensors", ".bin", ".onnx", ".xml", ".pt")
"""Of PyTorch, ONNX and OpenVINO; where several formats are there, the first one counts."""


def is_weights(name: str) -> bool:
    """Tell whether a file holds weights that a version can run."""
    return name.endswith(SUFFIXES)
