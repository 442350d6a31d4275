"""Writes the variants of a cross-encoder's graph: half precision, and two kinds of int8.

The head on top of the first token is never quantised: it costs nothing to compute, and with it in
int8 logits were off by 2.4. Static int8 also leaves the last layer and all attention alone.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from rerank_workers.engines.batch import Row, pad
from rerank_workers.engines.bert_weights import BertWeights
from rerank_workers.engines.ir import BFLOAT16, DYNAMIC, KEY, STATIC
from rerank_workers.optimize import graph

_CALIBRATION_ROWS = 200


def write(
    variant: str, weights: BertWeights, calibration: Sequence[Row], pad_id: int, path: Path
) -> None:
    """Write one variant's graph to `path` (.xml, its weights beside it). Minutes for large models.

    Args:
        variant: one of `ir.VARIANTS`.
        weights: the model.
        calibration: rows of the user's kind of text; read for static int8 only.
        pad_id: what fills rows up.
        path: where to.
    """
    model = graph.build(weights)
    match variant:
        case _ if variant == DYNAMIC:
            model = _with_int8_weights(model)
        case _ if variant == STATIC:
            model = _calibrated(model, weights, calibration, pad_id)
        case _:
            assert variant == BFLOAT16
    model.set_rt_info(variant, list(KEY))
    # Weights that stay in float are stored in half the bytes; the scale of int8 keeps fp32.
    ov.save_model(model, path, compress_to_fp16=variant == BFLOAT16)


def _with_int8_weights(model: ov.Model) -> ov.Model:
    nncf = _nncf()
    return nncf.compress_weights(
        model,
        mode=nncf.CompressWeightsMode.INT8_SYM,
        ignored_scope=nncf.IgnoredScope(names=[graph.POOL]),
    )


def _calibrated(
    model: ov.Model, weights: BertWeights, calibration: Sequence[Row], pad_id: int
) -> ov.Model:
    nncf = _nncf()
    present = {operation.get_friendly_name() for operation in model.get_ops()}
    layers = len(weights.layers)
    attention = [f"layer{index}.attention" for index in range(layers)]
    alone = {graph.POOL, *attention, *graph.layer_names(layers - 1)}

    def inputs(row: Row) -> Mapping[str, NDArray[np.int64]]:
        batch = pad([row], pad_id)
        arrays = (batch.ids, batch.mask, batch.types)
        return dict(zip(graph.INPUTS, arrays, strict=True))

    rows = list(calibration)[:_CALIBRATION_ROWS]
    quantised = nncf.quantize(
        model,
        nncf.Dataset(rows, inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(rows),
        ignored_scope=nncf.IgnoredScope(names=sorted(alone & present)),
    )
    # Static quantisation leaves the embeddings in float: most of a small model's bytes.
    tables = [
        operation.get_friendly_name()
        for operation in quantised.get_ops()
        if operation.get_type_name() == "MatMul"
    ]
    return nncf.compress_weights(
        quantised,
        mode=nncf.CompressWeightsMode.INT8_SYM,
        ignored_scope=nncf.IgnoredScope(names=tables),
    )


def _nncf() -> ModuleType:
    """Import NNCF quietly: its telemetry sends usage to its makers unless it runs in their CI."""
    os.environ["NNCF_CI"] = "1"
    nncf: ModuleType = importlib.import_module("nncf")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
