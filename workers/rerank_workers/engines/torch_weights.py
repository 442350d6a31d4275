"""Reads a checkpoint's tensors, safetensors or .bin, without running any code stored in it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from rerank_workers.engines.files import ModelFiles, ModelFilesError

# Checkpoints converted from TensorFlow before 2020 use these names.
_OLD_NAMES = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))


def read_weights(files: ModelFiles) -> Mapping[str, torch.Tensor]:
    """Map every tensor of the checkpoint by name, on the CPU, in the type it is stored in.

    The tensors are views of the mapped files: nothing is read before it is used, and processes
    that run the same files share the memory. So files must be replaced by rename, never
    rewritten in place.

    Raises:
        ModelFilesError: a file is damaged, or holds more than tensors.
    """
    tensors: dict[str, torch.Tensor] = {}
    for path in files.weights:
        read = _read_safetensors if path.suffix == ".safetensors" else _read_pickle
        tensors.update({_modern(name): tensor for name, tensor in read(path).items()})
    return tensors


def _modern(name: str) -> str:
    for old, new in _OLD_NAMES:
        name = name.replace(old, new)
    return name


def _read_safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
    except (SafetensorError, OSError) as error:
        raise ModelFilesError(f"{path}: damaged or not safetensors ({error})") from error


def _read_pickle(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        stored = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    # Files of torch before 1.6 are no zip archives and cannot be mapped.
    except RuntimeError:
        stored = _load_unmapped(path)
    except (pickle.UnpicklingError, EOFError, OSError) as error:
        raise ModelFilesError(f"{path}: damaged, or holds more than tensors ({error})") from error
    return {name: value for name, value in stored.items() if isinstance(value, torch.Tensor)}


def _load_unmapped(path: Path) -> Mapping[str, object]:
    try:
        stored: Mapping[str, object] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise ModelFilesError(f"{path}: damaged, or holds more than tensors ({error})") from error
    return stored
