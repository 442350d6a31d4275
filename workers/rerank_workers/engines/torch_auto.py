"""Loads an encoder of any architecture transformers knows, through its Auto classes."""

from __future__ import annotations

import torch
from torch import Tensor

from rerank_workers.engines.engine import Output
from rerank_workers.engines.files import ModelFiles, ModelFilesError


class AutoModel:
    """A transformers model called with token ids, mask and, where it takes them, token types."""

    def __init__(self, model: torch.nn.Module, output: Output, takes_types: bool) -> None:
        self._model = model
        self._output = output
        self._takes_types = takes_types

    def __call__(self, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
        """Compute logits (batch,) or the last states (batch, longest, width)."""
        more = {"token_type_ids": types} if self._takes_types else {}
        result = self._model(input_ids=ids, attention_mask=mask, **more)
        if self._output is Output.LOGIT:
            logits: Tensor = result.logits
            return logits.reshape(-1)
        states: Tensor = result.last_hidden_state
        return states


def load_auto(
    files: ModelFiles, output: Output, device: torch.device, dtype: torch.dtype
) -> AutoModel:
    """Load the model from its own folder; nothing is fetched, no code from it is run.

    Raises:
        ModelFilesError: transformers does not know it, or a tensor is missing.
    """
    import transformers

    # A progress bar would fill the log of the worker.
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    wants_logits = output is Output.LOGIT
    kind = transformers.AutoModelForSequenceClassification if wants_logits else None
    try:
        model, report = (kind or transformers.AutoModel).from_pretrained(
            files.directory,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, ImportError) as error:
        raise ModelFilesError(f"{files.directory}: transformers cannot load it ({error})") from (
            error
        )
    missing = sorted(report["missing_keys"])
    # A missing head would be filled with random numbers; a pooler nobody reads may be missing.
    if wants_logits and missing:
        raise ModelFilesError(f"{files.directory}: the tensor {missing[0]!r} is missing")
    if wants_logits and model.config.num_labels != 1:
        raise ModelFilesError(
            f"{files.directory}: the model has {model.config.num_labels} labels; a reranker has one"
        )
    takes_types = getattr(model.config, "type_vocab_size", 0) > 1
    return AutoModel(model.to(device=device, dtype=dtype).eval(), output, takes_types)
