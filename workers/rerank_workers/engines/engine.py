"""The interface of an engine, and the choice of one from the files a model folder has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from rerank_workers.engines.batch import Floats, Row
from rerank_workers.engines.choice import STORE
from rerank_workers.engines.files import IR_NAME, ModelFiles, ModelFilesError
from rerank_workers.scorer import Context

AUTO = "auto"
TORCH = "torch"
ONNX = "onnx"
OPENVINO = "openvino"


class Output(StrEnum):
    """What a model is loaded for."""

    LOGIT = "logit"
    """One number per row."""
    HIDDEN = "hidden"
    """The last layer's state of every token."""


class Engine(Protocol):
    """A loaded model.

    One that cuts the rows it is given by tokens may have `batches_at_once`, as a `Scorer` may.
    """

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
    """Load the model.

    "auto" takes torch where Hugging Face weights lie, else OpenVINO's graph where that library is
    installed, else the ONNX graph.

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
    chosen = _auto(files) if name == AUTO else name
    if chosen == TORCH:
        if not files.weights:
            raise ModelFilesError(f"{files.directory}: no weights for the torch engine")
        from rerank_workers.engines.torch_engine import load_torch

        return load_torch(context, files, output, pad_id, trust_remote_code)
    if chosen == ONNX:
        if files.onnx is None:
            raise ModelFilesError(f"{files.directory}: no model.onnx for the ONNX engine")
        from rerank_workers.engines.onnx_engine import load_onnx

        return load_onnx(files.onnx, output, context.threads, pad_id)
    if chosen == OPENVINO:
        return _load_openvino(context, files, output, pad_id)
    raise ModelFilesError(f"no engine {name!r}; there are {AUTO}, {TORCH}, {OPENVINO} and {ONNX}")


def _auto(files: ModelFiles) -> str:
    if files.weights:
        return TORCH
    if files.onnx is None or (files.ir is not None and find_spec("openvino") is not None):
        return OPENVINO
    return ONNX


def _load_openvino(context: Context, files: ModelFiles, output: Output, pad_id: int) -> Engine:
    if files.ir is None:
        raise ModelFilesError(f"{files.directory}: no {IR_NAME} for the OpenVINO engine")
    if output is not Output.LOGIT:
        raise ModelFilesError(f"{files.ir}: such a graph gives the logits of a cross-encoder only")
    if find_spec("openvino") is None:
        raise ModelFilesError(
            f"{files.ir}: needs OpenVINO; install it with: pip install 'rerank-server[openvino]'"
        )
    from rerank_workers.engines.openvino_engine import load_openvino

    widest = files.max_positions or 0
    # Beside what is remembered of this version, in a place that is the server's.
    store = context.options.get(STORE)
    return load_openvino(
        files.ir,
        context.threads,
        context.use_fp16,
        pad_id,
        widest=widest,
        cache=None if store is None else Path(store).with_suffix(".openvino"),
    )
