"""Runs Hugging Face weights with torch, on the CPU or on one CUDA device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rerank_workers.engines.batch import Floats, Row
from rerank_workers.engines.bert_weights import arrange, supports
from rerank_workers.engines.engine import Output
from rerank_workers.engines.files import ModelFiles
from rerank_workers.engines.packed import runs
from rerank_workers.engines.torch_bert import Bert
from rerank_workers.engines.torch_device import choose_dtype, device_memory
from rerank_workers.engines.torch_timing import FORMATS, choose_on_cpu, name_of, time_formats
from rerank_workers.engines.torch_weights import read_weights
from rerank_workers.scorer import Context

RUN_BYTES = 16384
"""Of one number a token, computed at once on a CPU: 4,096 tokens in fp32, 8,192 in half precision,
which is the usual `max_batch_tokens`. Enough for full speed, few enough for the caches."""
BATCHES_AT_ONCE = 4
"""On a CPU, so that runs are full; `max_batch_tokens` bounds a call as ever."""


class Model(Protocol):
    """A network on a device, loaded for one of the two."""

    def logits(self, rows: Sequence[Row]) -> Tensor:
        """Compute one logit a row, (rows,)."""

    def states(self, rows: Sequence[Row]) -> list[Tensor]:
        """Compute the last state of every token, (tokens, width) for each row."""


class TorchEngine:
    """A model whose tensors lie on one device."""

    def __init__(
        self,
        model: Model,
        device: torch.device,
        settings: Mapping[str, str],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`dtype` is what the model computes with."""
        self._model = model
        self._device = device
        self._settings = settings
        self._run_tokens = RUN_BYTES // dtype.itemsize

    @property
    def mixes_requests(self) -> bool:
        """See `Engine.mixes_requests`; attention masks padding out, rows never meet."""
        return True

    @property
    def batches_at_once(self) -> int:
        """See `Engine`; on a GPU the batcher's limits are the measure."""
        return BATCHES_AT_ONCE if self._device.type == "cpu" else 1

    @property
    def settings(self) -> Mapping[str, str]:
        """See `Engine.settings`."""
        return self._settings

    def logits(self, rows: Sequence[Row]) -> Floats:
        """See `Engine.logits`."""
        logits = np.empty(len(rows), dtype=np.float32)
        for run in self._runs(rows):
            with device_memory(f"a batch of {len(run)} rows"), torch.inference_mode():
                logits[run] = self._model.logits([rows[index] for index in run]).float().cpu()
        return logits

    def states(self, rows: Sequence[Row]) -> list[Floats]:
        """See `Engine.states`."""
        states = [np.empty((0, 0), dtype=np.float32)] * len(rows)
        for run in self._runs(rows):
            with device_memory(f"a batch of {len(run)} rows"), torch.inference_mode():
                found = self._model.states([rows[index] for index in run])
                for index, state in zip(run, found, strict=True):
                    states[index] = state.float().cpu().numpy()
        return states

    def _runs(self, rows: Sequence[Row]) -> Sequence[list[int]]:
        """On a GPU the batcher's limits are the measure."""
        whole = [list(range(len(rows)))]
        return list(runs(rows, self._run_tokens)) if self._device.type == "cpu" else whole


def load_torch(
    context: Context,
    files: ModelFiles,
    output: Output,
    pad_id: int,
    trust_remote_code: bool = False,
) -> TorchEngine:
    """Load Hugging Face weights onto the context's device; sets the process's thread count.

    Raises:
        ModelFilesError: the files are damaged, incomplete or of an unknown architecture.
        DeviceMemoryError: the device has no room for the model.
    """
    torch.set_num_threads(context.threads)
    device = torch.device(context.device)
    dtype = choose_dtype(device, context.use_fp16)
    chosen: Mapping[str, str] = {}
    with device_memory("the model"):
        if supports(files, output) and not trust_remote_code:
            forward = "rerank_workers"
            weights = arrange(files, read_weights(files), output)
            if device.type == "cpu" and output is Output.LOGIT:
                # Cosines of embeddings lie close together: only logits are ever halved.
                timed = partial(time_formats, weights, FORMATS)
                dtype, chosen = choose_on_cpu(context, files, timed)
            model: Model = Bert(weights, device, dtype)
        else:
            forward, model = _load_auto(
                files, output, device, dtype, pad_id, trust_remote_code=trust_remote_code
            )
    settings = {
        "engine": f"torch {torch.__version__}",
        "forward": forward,
        "attention": "sdpa",
        "dtype": name_of(dtype),
        **chosen,
        "device": context.device,
        "threads": str(context.threads),
        "model_files": ", ".join(f"{path.parent.name}/{path.name}" for path in files.weights),
    }
    return TorchEngine(model, device, MappingProxyType(settings), dtype)


def _load_auto(
    files: ModelFiles,
    output: Output,
    device: torch.device,
    dtype: torch.dtype,
    pad_id: int,
    *,
    trust_remote_code: bool,
) -> tuple[str, Model]:
    """Load through transformers, whose model classes take two seconds to import."""
    import transformers

    from rerank_workers.engines.torch_auto import load_auto

    model = load_auto(files, output, device, dtype, pad_id, trust_remote_code=trust_remote_code)
    return f"transformers {transformers.__version__}", model
