"""Shapes of OpenVINO's graphs, and compiled graphs that are kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from rerank_workers.engines.batch import Row
from rerank_workers.engines.choice import STORE
from rerank_workers.engines.files import IR_NAME
from rerank_workers.engines.ir import DYNAMIC, STATIC
from rerank_workers.families import cross_encoder
from rerank_workers.scorer import Context
from tests.engines.graphs import Make
from tests.families import tiny

pytest.importorskip("openvino", reason="the extra openvino is not installed")
pytest.importorskip("nncf", reason="the extra openvino is not installed")


@pytest.mark.parametrize(
    ("lengths", "parts"),
    [
        ([], []),
        ([2000], [[0]]),
        ([100, 90, 80], [[0, 1], [2]]),  # 270 tokens: the least budget
        ([10] * 3 + [200], [[3], [0, 1, 2]]),
        ([500] * 8, [[0], [1], [2], [3], [4], [5], [6], [7]]),
        ([250] * 40, [[i, i + 1, i + 2, i + 3] for i in range(0, 40, 4)]),
    ],
)
def test_rectangles_hold_rows_of_like_length(lengths: list[int], parts: list[list[int]]) -> None:
    from rerank_workers.engines.openvino_engine import rectangles

    rows = [Row(np.zeros(n, np.int32), np.zeros(n, np.uint8)) for n in lengths]

    assert rectangles(rows, 2) == parts


def test_rectangles_of_few_heights_leave_no_small_rest_but_the_last() -> None:
    from rerank_workers.engines.openvino_engine import rectangles

    rows = [Row(np.zeros(93, np.int32), np.zeros(93, np.uint8)) for _ in range(90)]

    heights = [len(part) for part in rectangles(rows, 2, few_heights=True)]

    assert heights == [8] * 11 + [2]  # 11 rows of 93 tokens would fit into 1,024
    assert [len(part) for part in rectangles(rows, 2)] == [11] * 8 + [2]


def test_after_a_call_that_failed_the_next_one_is_right(version: Make) -> None:
    from rerank_workers.engines.openvino_engine import load_openvino

    path = version("BertForSequenceClassification", DYNAMIC) / "model_cpu" / IR_NAME
    engine = load_openvino(path, 2, True, 0)
    rows = [Row(np.full(n, 7, np.int32), np.zeros(n, np.uint8)) for n in (100, 90, 80, 70)]
    right = engine.logits(rows).tolist()
    broken = Row(np.full(9, 7, np.int32), np.zeros(5, np.uint8))

    with pytest.raises(ValueError, match="broadcast"):
        engine.logits([*rows, broken])

    assert engine.logits(rows).tolist() == right


def test_few_shapes_stand_for_all_lengths_and_none_is_wider_than_the_model() -> None:
    from rerank_workers.engines.openvino_engine import even, widened

    lengths = {widened(length) for length in range(1, 513)}
    parts = list(even(range(23)))

    assert len(lengths) == 32
    assert all(0 <= widened(length) - length < 32 for length in range(1, 513))
    assert [len(part) for part in parts] == [16, 4, 2, 1]
    assert [index for part in parts for index in part] == list(range(23))


def test_widened_rows_score_as_they_do_as_they_are(version: Make) -> None:
    from rerank_workers.engines.openvino_engine import load_openvino

    path = version("XLMRobertaForSequenceClassification", STATIC) / "model_cpu" / IR_NAME
    draw = np.random.default_rng(1)
    rows = [
        Row(draw.integers(5, 90, length, dtype=np.int32), np.zeros(length, dtype=np.uint8))
        for length in (3, 9, 17, 17, 30)
    ]

    as_they_are = load_openvino(path, 2, True, 1).logits(rows)
    widened = load_openvino(path, 2, True, 1, widest=40).logits(rows)

    assert widened == pytest.approx(as_they_are, abs=0.05)


def test_a_compiled_graph_is_kept_for_the_next_start_and_a_damaged_one_made_anew(
    version: Make, tmp_path: Path
) -> None:
    directory = version("BertForSequenceClassification", DYNAMIC)
    options = {STORE: str(tmp_path / "v1.json")}
    context = Context("v1", directory, model="model_cpu", threads=2, options=options)
    cache = tmp_path / "v1.openvino"

    def score() -> list[float]:
        scorer = cross_encoder.load(context)
        return scorer.score(scorer.encode("the jet", tiny.GRID[:4]))

    first = score()
    (blob,) = cache.glob("*.blob")
    made = blob.stat().st_mtime_ns
    second = score()
    kept = blob.stat().st_mtime_ns == made
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:1000])
    third = score()

    assert first == second == third
    assert kept
    assert blob.stat().st_size > 1000


def test_compiled_graphs_of_models_that_were_replaced_are_removed(
    version: Make, tmp_path: Path
) -> None:
    directory = version("BertForSequenceClassification", DYNAMIC)
    cache = tmp_path / "v1.openvino"
    cache.mkdir()
    for age in range(3):
        (cache / f"{age}.blob").write_bytes(b"old")
        os.utime(cache / f"{age}.blob", (1000 - age, 1000 - age))

    options = {STORE: str(tmp_path / "v1.json")}
    cross_encoder.load(Context("v1", directory, model="model_cpu", options=options))

    left = sorted(cache.glob("*.blob"), key=lambda blob: blob.stat().st_mtime)
    assert [blob.name for blob in left[:-1]] == ["0.blob"]
