"""Runs a cross-encoder's OpenVINO graph on the CPU; torch is never imported here.

Rows are cut, by length, into small rectangles that several streams of threads work on at the same
time; how many tokens one has shrinks with the request, so that no stream waits for the last.
Static scales are constants of the graph and dynamic ones belong to one token's row, so that a
score never depends on what stands beside it.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

import numpy as np

from rerank_workers.engines.batch import Batch, Floats, Row, pad
from rerank_workers.engines.choice import processor
from rerank_workers.engines.files import ModelFilesError
from rerank_workers.engines.ir import BFLOAT16, DYNAMIC, variant_of
from rerank_workers.scorer import DeviceMemoryError

if TYPE_CHECKING:
    import openvino

STREAMS = 2
BATCHES_AT_ONCE = 4
"""With the default `batch_size` and passages of 120 tokens, what fills `max_batch_tokens`."""
_MOST_TOKENS = 1024  # of a rectangle, padding counted: beyond, nothing is gained
_LEAST_TOKENS = 256
_SHARES = 4
"""Rectangles for each stream, where there are tokens enough: they end at about the same time."""
_HEIGHTS = (1, 2, 4, 8, 16, 32, 64, 128)
_KEPT = 2  # compiled graphs in a cache: the present one, and one to go back to
_GROUP = 128  # weights and activations that share a dynamic scale


class OpenVinoEngine:
    """A compiled graph and one request for each of its streams."""

    def __init__(
        self,
        model: openvino.CompiledModel,
        streams: int,
        settings: Mapping[str, str],
        pad_id: int,
        widest: int | None = None,
    ) -> None:
        """`widest` makes it one that meets few shapes: rows are widened, but not beyond that."""
        self._widest = widest
        self._requests = [model.create_infer_request() for _ in range(streams)]
        self._done: SimpleQueue[int] = SimpleQueue()
        for lane, request in enumerate(self._requests):
            request.set_callback(self._done.put, lane)
        self._settings = settings
        self._pad_id = pad_id

    @property
    def mixes_requests(self) -> bool:
        """See `Engine.mixes_requests`."""
        return True

    @property
    def batches_at_once(self) -> int:
        """See `Engine`; every call ends with streams that wait for the last, so few calls."""
        return BATCHES_AT_ONCE

    @property
    def settings(self) -> Mapping[str, str]:
        """See `Engine.settings`."""
        return self._settings

    def logits(self, rows: Sequence[Row]) -> Floats:
        """See `Engine.logits`."""
        logits = np.empty(len(rows), dtype=np.float32)
        idle = list(range(len(self._requests)))
        running: dict[int, list[int]] = {}
        try:
            for part in self._parts(rows):
                lane = idle.pop() if idle else self._collect(running, logits)
                batch = self._padded([rows[index] for index in part])
                self._requests[lane].start_async([batch.ids, batch.mask, batch.types])
                running[lane] = part
            while running:
                self._collect(running, logits)
        except MemoryError as error:
            raise DeviceMemoryError(f"no memory for a batch of {len(rows)} rows") from error
        finally:
            while running:  # what failed leaves no lane at work for the next call
                running.pop(self._done.get())
        return logits

    def states(self, rows: Sequence[Row]) -> list[Floats]:
        """Refuse: a graph written by `optimize` has logits only."""
        raise NotImplementedError("an OpenVINO graph gives logits")

    def _parts(self, rows: Sequence[Row]) -> Iterator[list[int]]:
        are_few = self._widest is not None
        for part in rectangles(rows, len(self._requests), few_heights=are_few):
            yield from even(part) if are_few else [part]

    def _padded(self, rows: Sequence[Row]) -> Batch:
        longest = max(len(row) for row in rows)
        if self._widest is None:
            return pad(rows, self._pad_id)
        return pad(rows, self._pad_id, max(longest, min(self._widest, widened(longest))))

    def _collect(self, running: dict[int, list[int]], logits: Floats) -> int:
        """Put what is computed first in its place; return the lane, which is free then."""
        lane = self._done.get()
        part = running.pop(lane)
        request = self._requests[lane]
        request.wait()  # raises what went wrong
        logits[part] = request.get_output_tensor(0).data
        return lane


def rectangles(rows: Sequence[Row], streams: int, *, few_heights: bool = False) -> list[list[int]]:
    """Cut rows, longest first, into parts of little padding; one long row always fits.

    With `few_heights` all but the last have one of `_HEIGHTS`.
    """
    tokens = sum(len(row) for row in rows)
    budget = min(_MOST_TOKENS, max(_LEAST_TOKENS, tokens // (streams * _SHARES)))
    parts: list[list[int]] = []
    room = 0
    for index in sorted(range(len(rows)), key=lambda index: -len(rows[index])):
        if room == 0:
            room = max(1, budget // max(1, len(rows[index])))
            if few_heights:
                room = _height(room)
            parts.append([])
        parts[-1].append(index)
        room -= 1
    return parts


def widened(length: int) -> int:
    """Round a length up, finer where it is short: 32 lengths up to 512, 4% of padding or so.

    For each new shape OpenVINO compiles kernels, with static scales it lays out the weights anew,
    too, and it keeps all that. With AMX a 33 MB model with static scales held 3.9 GB after 40
    requests of all lengths and took 1.6 times as long; other variants grew by 7 MB a request.
    """
    step = 8 if length <= 128 else 16 if length <= 256 else 32
    return -(-length // step) * step


def even(part: Sequence[int]) -> Iterator[list[int]]:
    """Cut a rectangle's rows so that there are few heights."""
    start = 0
    while start < len(part):
        height = _height(len(part) - start)
        yield list(part[start : start + height])
        start += height


def _height(rows: int) -> int:
    return max(height for height in _HEIGHTS if height <= rows)


def load_openvino(
    path: Path,
    threads: int,
    use_fp16: bool,
    pad_id: int,
    *,
    widest: int | None = None,
    cache: Path | None = None,
) -> OpenVinoEngine:
    """Compile a graph for the CPU.

    `cache` is a folder for compiled graphs: the next start takes a third to a half of the time.
    OpenVINO looks at their checksums and conditions itself, and compiles where they do not hold.

    `widest` is the longest row the model takes; given one, the graph meets few shapes (`widened`).

    Raises:
        ModelFilesError: it is no graph OpenVINO can read, or not one of ours.
        DeviceMemoryError: the host has no room for it.
    """
    ov, core = _openvino(), _core()
    streams = min(STREAMS, threads)
    has_half = use_fp16 and processor().has_half
    try:
        model = core.read_model(path)
        variant = variant_of(model, path)
        options = _options(variant, threads, streams, has_half=has_half)
        if cache is not None:
            options["CACHE_DIR"] = str(cache)
        compiled = core.compile_model(model, "CPU", options)
    except MemoryError as error:
        raise DeviceMemoryError(f"{path}: no memory to load it") from error
    # OpenVINO's errors are RuntimeError, whatever is wrong.
    except RuntimeError as error:
        raise ModelFilesError(f"{path}: OpenVINO cannot load it ({error})") from error
    if cache is not None:
        _prune(cache)
    rest = "bfloat16" if has_half else "float32"
    settings = {
        "engine": f"openvino {ov.__version__.partition('-')[0]}",
        "dtype": rest if variant == BFLOAT16 else f"{variant}, {rest} beside",
        "device": "cpu",
        "threads": str(threads),
        "streams": str(streams),
        "model_files": f"{path.parent.name}/{path.name}",
    }
    return OpenVinoEngine(compiled, streams, MappingProxyType(settings), pad_id, widest)


def _options(variant: str, threads: int, streams: int, *, has_half: bool) -> dict[str, object]:
    options: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": "bf16" if has_half else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
        "PERFORMANCE_HINT": "THROUGHPUT",
    }
    if variant == DYNAMIC:
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = _GROUP
    return options


def _prune(cache: Path) -> None:
    """Remove compiled graphs of models that were replaced; another process may do so as well."""
    with suppress(OSError):
        blobs = sorted(cache.glob("*.blob"), key=lambda blob: -blob.stat().st_mtime)
        for blob in blobs[_KEPT:]:
            blob.unlink()


@functools.cache
def _core() -> openvino.Core:
    """Return the process's only one, which is never dropped.

    Each has a CPU plugin, which gives its thread a stack for signals (for AMX) and puts back, once
    dropped, the one it found. Where that was of a plugin dropped before, it is gone, and the next
    signal with a handler kills the process (OpenVINO 2026.4).
    """
    core: openvino.Core = _openvino().Core()
    return core


def _openvino() -> ModuleType:
    """Import OpenVINO without its model converter, an eighth of the time until the first score.

    Its `__init__` asks for the converter last, and does without where there is none.
    """
    converter = "openvino.tools.ovc"
    if "openvino" in sys.modules or converter in sys.modules:
        return importlib.import_module("openvino")
    sys.modules[converter] = None  # type: ignore[assignment]  # Python's own way to hide a module
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[converter]
