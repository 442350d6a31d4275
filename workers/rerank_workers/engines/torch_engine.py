"""Runs Hugging Face weights with torch, on the CPU or on one CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from rerank_workers.engines import torch_bert
from rerank_workers.engines.batch import Batch, Floats
from rerank_workers.engines.engine import Output
from rerank_workers.engines.files import ModelFiles
from rerank_workers.engines.torch_device import choose_dtype, device_memory
from rerank_workers.engines.torch_weights import read_weights
from rerank_workers.scorer import Context

Model: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Ids, mask and token types, each (batch, longest), to what the model was loaded for."""


class TorchEngine:
    """A model whose tensors lie on one device."""

    def __init__(self, model: Model, device: torch.device, settings: Mapping[str, str]) -> None:
        self._model = model
        self._device = device
        self._settings = settings

    @property
    def mixes_requests(self) -> bool:
        """See `Engine.mixes_requests`; attention masks padding out, rows never meet."""
        return True

    @property
    def settings(self) -> Mapping[str, str]:
        """See `Engine.settings`."""
        return self._settings

    def run(self, batch: Batch) -> Floats:
        """See `Engine.run`."""
        with device_memory(f"a batch of {batch.ids.shape}"), torch.inference_mode():
            result = self._model(
                self._on_device(batch.ids),
                self._on_device(batch.mask),
                self._on_device(batch.types),
            )
            numbers: Floats = result.float().cpu().numpy()
        return numbers

    def _on_device(self, array: np.typing.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def load_torch(context: Context, files: ModelFiles, output: Output) -> TorchEngine:
    """Load Hugging Face weights onto the context's device; sets the process's thread count.

    Raises:
        ModelFilesError: the files are damaged, incomplete or of an unknown architecture.
        DeviceMemoryError: the device has no room for the model.
    """
    torch.set_num_threads(context.threads)
    device = torch.device(context.device)
    dtype = choose_dtype(device, context.use_fp16)
    load = _load_bert if torch_bert.supports(files, output) else _load_auto
    with device_memory("the model"):
        forward, model = load(files, output, device, dtype)
    settings = {
        "engine": f"torch {torch.__version__}",
        "forward": forward,
        "attention": "sdpa",
        "dtype": str(dtype).removeprefix("torch."),
        "device": context.device,
        "threads": str(context.threads),
        "model_files": ", ".join(f"{path.parent.name}/{path.name}" for path in files.weights),
    }
    return TorchEngine(model, device, MappingProxyType(settings))


def _load_bert(
    files: ModelFiles, output: Output, device: torch.device, dtype: torch.dtype
) -> tuple[str, Model]:
    weights = {name: t.to(device, dtype) for name, t in read_weights(files).items()}
    return "rerank_workers", torch_bert.build(files, weights, output)


def _load_auto(
    files: ModelFiles, output: Output, device: torch.device, dtype: torch.dtype
) -> tuple[str, Model]:
    """Load through transformers, whose model classes take two seconds to import."""
    import transformers

    from rerank_workers.engines.torch_auto import load_auto

    return f"transformers {transformers.__version__}", load_auto(files, output, device, dtype)
