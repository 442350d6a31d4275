"""The interface of an engine, and the choice of one from the files a model folder has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from rerank_workers.engines.batch import Floats, Row
from rerank_workers.engines.files import ModelFiles, ModelFilesError
from rerank_workers.scorer import Context

AUTO = "auto"
TORCH = "torch"
ONNX = "onnx"


class Output(StrEnum):
    """What a model is loaded for."""

    LOGIT = "logit"
    """One number per row."""
    HIDDEN = "hidden"
    """The last layer's state of every token."""


class Engine(Protocol):
    """A loaded model."""

    @property
    def mixes_requests(self) -> bool:
        """Whether a row's numbers are the same whichever rows stand beside it."""

    @property
    def settings(self) -> Mapping[str, str]:
        """How the model is run, for people: engine, dtype, device, files."""

    def logits(self, rows: Sequence[Row]) -> Floats:
        """Compute one number a row, shape (rows,), in order; for an engine loaded for `LOGIT`.

        The engine groups and cuts the rows as suits it. Blocks. One thread at a time.

        Raises:
            DeviceMemoryError: a batch did not fit.
        """

    def states(self, rows: Sequence[Row]) -> list[Floats]:
        """Compute the states of each row's tokens, (tokens, width); for one loaded for `HIDDEN`.

        As `logits` in all else.
        """


def load_engine(
    context: Context,
    files: ModelFiles,
    output: Output,
    name: str = AUTO,
    *,
    pad_id: int = 0,
    trust_remote_code: bool = False,
) -> Engine:
    """Load the model; "auto" takes torch where Hugging Face weights lie, else the ONNX graph.

    Args:
        context: where the files are and how to run them.
        files: the model folder.
        output: what is read of the model.
        name: "auto", or one engine by name.
        pad_id: what fills rows up in an engine that pads; attention never sees it.
        trust_remote_code: let transformers run code that lies in the model folder.

    Raises:
        ModelFilesError: no such engine, no file for it to run, or it cannot run the file.
        DeviceMemoryError: the device has no room for the model.
    """
    if name not in (AUTO, TORCH, ONNX):
        raise ModelFilesError(f"no engine {name!r}; there are {AUTO}, {TORCH} and {ONNX}")
    if name == ONNX or (name == AUTO and not files.weights):
        if files.onnx is None:
            raise ModelFilesError(f"{files.directory}: no model.onnx for the ONNX engine")
        from rerank_workers.engines.onnx_engine import load_onnx

        return load_onnx(files.onnx, output, context.threads, pad_id)
    if not files.weights:
        raise ModelFilesError(f"{files.directory}: no weights for the torch engine")
    from rerank_workers.engines.torch_engine import load_torch

    return load_torch(context, files, output, pad_id, trust_remote_code)
