"""Runs an ONNX graph on the CPU with ONNX Runtime; torch is never imported here.

A graph quantised dynamically per tensor (`DynamicQuantizeLinear`, what
`onnxruntime.quantization.quantize_dynamic` makes) takes its activation scale from the whole batch,
so the score of a document moves with its neighbours: for the int8 MiniLM of the demo by up to 0.94
logits, even within one request when that is cut into other batches; it is closest to fp32 when each
row has a scale of its own. So such a graph is given one row at a time. On two cores that was at
least as fast as batches of 16, since nothing is padded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from rerank_workers.engines.batch import Floats, Row, pad
from rerank_workers.engines.engine import Output
from rerank_workers.engines.files import ModelFilesError
from rerank_workers.engines.onnx_outline import OnnxOutline, read_outline
from rerank_workers.scorer import DeviceMemoryError

_ERRORS_ONLY = 3  # onnxruntime's log severities: 0 verbose .. 4 fatal
_RANK = MappingProxyType({Output.LOGIT: 2, Output.HIDDEN: 3})


class OnnxEngine:
    """A graph in an ONNX Runtime session."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        outline: OnnxOutline,
        output: Output,
        settings: Mapping[str, str],
        pad_id: int,
    ) -> None:
        self._session = session
        self._outline = outline
        self._pad_id = pad_id
        self._output_name = _output_name(session, output)
        self._inputs = frozenset(value.name for value in session.get_inputs())
        self._settings = settings

    @property
    def mixes_requests(self) -> bool:
        """See `Engine.mixes_requests`; rows that would meet are run one by one."""
        return True

    @property
    def settings(self) -> Mapping[str, str]:
        """See `Engine.settings`."""
        return self._settings

    def logits(self, rows: Sequence[Row]) -> Floats:
        """See `Engine.logits`."""
        parts = [self._run(some).reshape(-1) for some in self._apart(rows)]
        return np.concatenate(parts)

    def states(self, rows: Sequence[Row]) -> list[Floats]:
        """See `Engine.states`."""
        states: list[Floats] = []
        for some in self._apart(rows):
            padded = self._run(some)
            states += [state[: len(row)] for state, row in zip(padded, some, strict=True)]
        return states

    def _apart(self, rows: Sequence[Row]) -> list[Sequence[Row]]:
        return [rows] if self._outline.keeps_rows_apart else [[row] for row in rows]

    def _run(self, rows: Sequence[Row]) -> Floats:
        batch = pad(rows, self._pad_id)
        feed = {
            "input_ids": batch.ids,
            "attention_mask": batch.mask,
            "token_type_ids": batch.types,
        }
        try:
            (values,) = self._session.run(
                [self._output_name],
                {name: array for name, array in feed.items() if name in self._inputs},
            )
        except MemoryError as error:
            raise DeviceMemoryError(f"no memory for a batch of {batch.ids.shape}") from error
        except RuntimeException as error:
            if "alloc" in str(error).lower():
                raise DeviceMemoryError(f"no memory for a batch of {batch.ids.shape}") from error
            raise
        numbers: Floats = np.asarray(values, dtype=np.float32)
        return numbers


def load_onnx(path: Path, output: Output, threads: int, pad_id: int) -> OnnxEngine:
    """Open a graph for the CPU.

    Raises:
        ModelFilesError: it is no ONNX graph, or has no output of the wanted form.
        DeviceMemoryError: the host has no room for it.
    """
    outline = read_outline(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Spinning threads take a core each from the other versions while this one is idle.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except MemoryError as error:
        raise DeviceMemoryError(f"{path}: no memory to load it") from error
    # onnxruntime's exceptions share no base class below Exception.
    except Exception as error:
        raise ModelFilesError(f"{path}: onnxruntime cannot load it ({error})") from error
    settings = {
        "engine": f"onnxruntime {onnxruntime.__version__}",
        "dtype": _precision(session, outline),
        "device": "cpu",
        "threads": str(threads),
        "model_files": f"{path.parent.name}/{path.name}",
    }
    return OnnxEngine(session, outline, output, MappingProxyType(settings), pad_id)


def _precision(session: onnxruntime.InferenceSession, outline: OnnxOutline) -> str:
    halves = any(value.type == "tensor(float16)" for value in session.get_outputs())
    return "float16" if halves else outline.precision


def _output_name(session: onnxruntime.InferenceSession, output: Output) -> str:
    """Find the first output of the wanted rank (exports differ in names more than in form)."""
    found = {value.name: value.shape for value in session.get_outputs()}
    for name, shape in found.items():
        if len(shape) != _RANK[output]:
            continue
        if output is Output.LOGIT and shape[-1] not in (1, None) and isinstance(shape[-1], int):
            raise ModelFilesError(f"output {name!r} has {shape[-1]} labels; a reranker has one")
        return str(name)
    raise ModelFilesError(
        f"no output of rank {_RANK[output]} for {output.value}; the graph has {found}"
    )
