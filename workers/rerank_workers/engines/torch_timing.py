"""Chooses a number format on a CPU by timing a layer or two in each, before loading the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from rerank_workers.engines.batch import Row
from rerank_workers.engines.bert_weights import BertWeights
from rerank_workers.engines.choice import STORE, choose, conditions, processor
from rerank_workers.engines.files import ModelFiles
from rerank_workers.engines.torch_bert import Bert
from rerank_workers.scorer import Context

Seconds = Mapping[torch.dtype, float]
FORMATS = (torch.float32, torch.bfloat16)
"""The exact one first."""

_ROWS = 4
_TOKENS = 128  # of each row
_ROUNDS = 5


def choose_on_cpu(
    context: Context, files: ModelFiles, measure: Callable[[], Seconds]
) -> tuple[torch.dtype, Mapping[str, str]]:
    """Take half precision where it was asked for, the CPU has it, and it is not slower.

    `measure` times all of `FORMATS`; it is called only where no choice is remembered.

    Returns:
        The format, and settings that tell of the self-timing.
    """
    formats = {name_of(dtype): dtype for dtype in FORMATS}
    has_half = context.use_fp16 and processor().has_half
    candidates = tuple(formats) if has_half else (name_of(FORMATS[0]),)
    store = context.options.get(STORE)
    choice = choose(
        None if store is None else Path(store),
        conditions(files.weights, {"torch": torch.__version__}, context.threads, candidates),
        candidates,
        lambda: {name_of(dtype): seconds for dtype, seconds in measure().items()},
    )
    slowest = max(choice.seconds.values(), default=0.0)
    told = {name: f"{slowest / seconds:.1f}x" for name, seconds in choice.seconds.items()}
    speeds = ", ".join(f"{name} {speed}" for name, speed in told.items())
    return formats[choice.winner], {"self_timing": speeds} if speeds else {}


def name_of(dtype: torch.dtype) -> str:
    """Return a format's name as people read it."""
    return str(dtype).removeprefix("torch.")


def time_formats(weights: BertWeights, formats: Sequence[torch.dtype]) -> Seconds:
    """Return the least seconds that the first layer took in each format. Blocks the CPU."""
    single = replace(weights, words=weights.words[:1], layers=weights.layers[:1], head=None)
    longest = min(_TOKENS, len(weights.positions) - 2)  # RoBERTa's positions begin at 2
    rows = [Row(np.zeros(longest, np.int32), np.zeros(longest, np.uint8))] * _ROWS
    models = {dtype: Bert(single, torch.device("cpu"), dtype) for dtype in formats}
    return least_seconds({dtype: partial(m.states, rows) for dtype, m in models.items()})


def least_seconds(runs: Mapping[torch.dtype, Callable[[], object]]) -> Seconds:
    """Return the least seconds that each of the runs took.

    They take turns, so that a slow phase of the machine meets all of them; the least of several
    rounds is what the machine can do.
    """
    seconds = dict.fromkeys(runs, float("inf"))
    with torch.inference_mode():
        for run in runs.values():
            run()  # the first run builds the kernels
        for _ in range(_ROUNDS):
            for dtype, run in runs.items():
                began = time.perf_counter()
                run()
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - began)
    return seconds
