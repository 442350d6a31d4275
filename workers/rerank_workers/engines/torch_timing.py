"""Times one layer of a model in several number formats: milliseconds of work, before loading."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from rerank_workers.engines.batch import Row
from rerank_workers.engines.bert_weights import BertWeights
from rerank_workers.engines.torch_bert import Bert

_ROWS = 4
_TOKENS = 128  # of each row
_ROUNDS = 5


def time_formats(
    weights: BertWeights, formats: Sequence[torch.dtype]
) -> Mapping[torch.dtype, float]:
    """Return the least seconds that the first layer took in each format. Blocks the CPU.

    The formats take turns, so that a slow phase of the machine meets all of them; the least of
    several rounds is what the machine can do.
    """
    single = replace(weights, words=weights.words[:1], layers=weights.layers[:1], head=None)
    longest = min(_TOKENS, len(weights.positions) - 2)  # RoBERTa's positions begin at 2
    rows = [Row(np.zeros(longest, np.int32), np.zeros(longest, np.uint8))] * _ROWS
    models = {dtype: Bert(single, torch.device("cpu"), dtype) for dtype in formats}
    seconds = dict.fromkeys(models, float("inf"))
    with torch.inference_mode():
        for model in models.values():
            model.states(rows)  # the first run builds the kernels
        for _ in range(_ROUNDS):
            for dtype, model in models.items():
                began = time.perf_counter()
                model.states(rows)
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - began)
    return seconds
