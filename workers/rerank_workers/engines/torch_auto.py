"""Loads an encoder of any architecture transformers knows, through its Auto classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rerank_workers.engines.batch import Row, pad
from rerank_workers.engines.engine import Output
from rerank_workers.engines.files import ModelFiles, ModelFilesError


class AutoModel:
    """A transformers model called with token ids, mask and, where it takes them, token types."""

    def __init__(
        self, model: torch.nn.Module, device: torch.device, pad_id: int, takes_types: bool
    ) -> None:
        self._model = model
        self._device = device
        self._pad_id = pad_id
        self._takes_types = takes_types

    def logits(self, rows: Sequence[Row]) -> Tensor:
        """Compute one logit a row, (rows,)."""
        logits: Tensor = self._model(**self._inputs(rows)).logits
        return logits.reshape(-1)

    def states(self, rows: Sequence[Row]) -> list[Tensor]:
        """Compute the last state of every token, (tokens, width) for each row."""
        padded = self._model(**self._inputs(rows)).last_hidden_state
        return [states[: len(row)] for states, row in zip(padded, rows, strict=True)]

    def _inputs(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        batch = pad(rows, self._pad_id)
        arrays = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if self._takes_types:
            arrays["token_type_ids"] = batch.types
        return {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}


def load_auto(
    files: ModelFiles,
    output: Output,
    device: torch.device,
    dtype: torch.dtype,
    pad_id: int,
    *,
    trust_remote_code: bool = False,
) -> AutoModel:
    """Load the model from its own folder; nothing is fetched, and code in it is run only if told.

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
            trust_remote_code=trust_remote_code,
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
    return AutoModel(model.to(device=device, dtype=dtype).eval(), device, pad_id, takes_types)
