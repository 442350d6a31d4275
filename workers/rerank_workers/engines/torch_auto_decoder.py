"""Runs a language model of any architecture transformers knows, for the logits of some tokens.

Slower than the forward pass of our own: every prompt is read whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch

from rerank_workers.engines.decoder import LM_HEAD, Head, Plan
from rerank_workers.engines.files import ModelFiles, ModelFilesError
from rerank_workers.engines.prompt import Prompt
from rerank_workers.engines.torch_device import choose_dtype, device_memory
from rerank_workers.scorer import Context


class AutoDecoder:
    """A transformers model for causal language modelling."""

    def __init__(
        self,
        model: torch.nn.Module,
        head: Head,
        device: torch.device,
        settings: Mapping[str, str],
    ) -> None:
        self._model = model
        self._head = head
        self._device = device
        self._settings = settings

    @property
    def shares_prefixes(self) -> bool:
        """See `DecoderEngine.shares_prefixes`."""
        return False

    @property
    def settings(self) -> Mapping[str, str]:
        """See `DecoderEngine.settings`."""
        return self._settings

    def run(self, prompts: Sequence[Prompt]) -> list[float]:
        """See `DecoderEngine.run`; rows are padded on the left, so the last token is the last."""
        longest = max(prompt.tokens for prompt in prompts)
        ids = np.zeros((len(prompts), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for index, prompt in enumerate(prompts):
            ids[index, longest - prompt.tokens :] = np.concatenate((prompt.prefix.ids, prompt.ids))
            mask[index, longest - prompt.tokens :] = 1
        with device_memory(f"a batch of {ids.shape}"), torch.inference_mode():
            attends = torch.from_numpy(mask).to(self._device)
            result = self._model(
                input_ids=torch.from_numpy(ids).to(self._device),
                attention_mask=attends,
                position_ids=(attends.cumsum(1) - 1).clamp(min=0),
                logits_to_keep=1,
                use_cache=False,
            )
            logits = result.logits[:, -1, list(self._head.rows)].float()
            numbers: list[float] = (logits @ logits.new_tensor(self._head.signs)).tolist()
        return numbers


def load_auto_decoder(context: Context, files: ModelFiles, plan: Plan) -> AutoDecoder:
    """Load the model from its own folder; nothing is fetched, no code from it is run.

    Raises:
        ModelFilesError: transformers does not know it, a tensor is missing, or the plan needs more
            than the logits of tokens.
        DeviceMemoryError: the device has no room for the model.
    """
    import transformers

    if plan.head.tensor != LM_HEAD or plan.depth is not None or plan.merging is not None:
        raise ModelFilesError(f"{files.directory}: {files.model_type} cannot be run this way")
    torch.set_num_threads(context.threads)
    device = torch.device(context.device)
    # A progress bar would fill the log of the worker.
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    try:
        loaded: tuple[torch.nn.Module, Mapping[str, Sequence[str]]] = (
            transformers.AutoModelForCausalLM.from_pretrained(  # type: ignore[assignment]  # a pair
                files.directory,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        )
    except (OSError, ValueError, ImportError) as error:
        raise ModelFilesError(f"{files.directory}: transformers cannot load it ({error})") from (
            error
        )
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelFilesError(f"{files.directory}: the tensor {missing[0]!r} is missing")
    dtype = choose_dtype(device, context.use_fp16)
    if dtype == torch.float16 and model.dtype == torch.bfloat16:
        dtype = torch.bfloat16
    settings = {
        "engine": f"torch {torch.__version__}",
        "forward": f"transformers {transformers.__version__}",
        "dtype": str(dtype).removeprefix("torch."),
        "device": context.device,
        "threads": str(context.threads),
        "model_files": ", ".join(f"{path.parent.name}/{path.name}" for path in files.weights),
    }
    with device_memory("the model"):
        moved = model.to(device=device, dtype=dtype).eval()
    return AutoDecoder(moved, plan.head, device, MappingProxyType(settings))
