"""One contestant of `engine.py` in a process of its own: loads, then scores whenever told to.

Speaks JSON lines: a first line when it is ready, then one for each line it reads. Imports only what
its engine needs, so that threads and allocators of one never touch another.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import llm_child

if TYPE_CHECKING:
    from rerank_workers.engines.batch import Floats, Row

Texts = Sequence[tuple[str, Sequence[str]]]
Run = Callable[[], list[float]]

SENTENCE_TRANSFORMERS = "sentence-transformers fp32"
TORCH_FP32 = "torch fp32"
TORCH_BF16 = "torch bf16"
ONNX_INT8 = "ONNX Runtime int8, as shipped"
GEMM = "gemm"
ONE_BY_ONE = ", a request at a time"
"""Ends the name of a contestant that is given one query's documents at a time."""

_GEMM_SHAPE = (4096, 384, 1536)
_GEMM_TIMES = 12


def gemm(dtype_name: str) -> Run:
    """Give a run that returns the best GFLOP/s of a plain matrix product."""
    import torch

    rows, inner, columns = _GEMM_SHAPE
    dtype = getattr(torch, dtype_name)
    x, y = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
    out = torch.empty(rows, columns, dtype=dtype)

    def run() -> list[float]:
        best = float("inf")
        for _ in range(_GEMM_TIMES):
            began = time.perf_counter()
            torch.mm(x, y, out=out)
            best = min(best, time.perf_counter() - began)
        return [2 * rows * inner * columns / best / 1e9]

    return run


def sentence_transformers(version: Path, texts: Texts, threads: int) -> Run:
    """Give a run of the reference library as its documentation shows it."""
    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(threads)
    model = CrossEncoder(
        str(version / "model"),
        device="cpu",
        max_length=512,
        tokenizer_kwargs={"tokenizer_file": str(version / "tokenizer" / "tokenizer.json")},
    )
    pairs = [(query, doc) for query, docs in texts for doc in docs]
    identity = torch.nn.Identity()

    def run() -> list[float]:
        scores = model.predict(
            pairs, batch_size=32, activation_fn=identity, show_progress_bar=False
        )
        return [float(score) for score in scores]

    return run


def engine(name: str, version: Path, folder: Path, texts: Texts, *, threads: int, most: int) -> Run:
    """Give a run of one of this project's engines; token ids are made beforehand."""
    from rerank_workers.engines.files import read_model_files
    from rerank_workers.families.tokenizer import load_tokenizer

    files = read_model_files(version / "model")
    tokenizer = load_tokenizer(version / "tokenizer", files)
    logits = _load(name, version, folder, threads, tokenizer.pad_id)
    requests = [rows(tokenizer.ids([query, *docs]), tokenizer.pair, most) for query, docs in texts]
    if not name.endswith(ONE_BY_ONE):
        requests = [[row for request in requests for row in request]]

    def run() -> list[float]:
        return [float(score) for request in requests for score in logits(request)]

    return run


def _load(
    name: str, version: Path, folder: Path, threads: int, pad_id: int
) -> Callable[[Sequence[Row]], Floats]:
    if name == ONNX_INT8:
        from rerank_workers.engines.engine import Output
        from rerank_workers.engines.onnx_engine import load_onnx

        path = version / "model_cpu" / "model.onnx"
        return load_onnx(path, Output.LOGIT, threads, pad_id).logits
    if name.startswith((TORCH_FP32, TORCH_BF16)):
        import torch

        from rerank_workers.engines.bert_weights import arrange
        from rerank_workers.engines.engine import Output
        from rerank_workers.engines.files import read_model_files
        from rerank_workers.engines.torch_bert import Bert
        from rerank_workers.engines.torch_engine import TorchEngine
        from rerank_workers.engines.torch_weights import read_weights

        torch.set_num_threads(threads)
        files = read_model_files(version / "model")
        weights = arrange(files, read_weights(files), Output.LOGIT)
        dtype = torch.float32 if name.startswith(TORCH_FP32) else torch.bfloat16
        cpu = torch.device("cpu")
        return TorchEngine(Bert(weights, cpu, dtype), cpu, {}, dtype).logits
    from rerank_workers.engines.openvino_engine import load_openvino

    return load_openvino(folder / "openvino.xml", threads, True, pad_id, widest=512).logits


def rows(ids: Sequence[Sequence[int]], frame: object, most: int = 512) -> list[Row]:
    """Frame a query's token ids with each document's, cut as the cross-encoder cuts them."""
    from rerank_workers.families.tokenizer import Frame

    assert isinstance(frame, Frame)
    query, *docs = ids
    query = query[: most * 3 // 4]
    room = most - frame.special_tokens - len(query)
    return [frame.row(query, doc[:room]) for doc in docs]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--name", "--version", "--folder", "--texts"):
        parser.add_argument(name, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--max-length", type=int, default=512)
    told = parser.parse_args()
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print do it on stderr
    version, folder = Path(told.version), Path(told.folder)
    texts = json.loads(Path(told.texts).read_text(encoding="utf-8"))
    if told.name.startswith(GEMM):
        import torch

        torch.set_num_threads(told.threads)
        run = gemm(told.name.removeprefix(GEMM).strip())
    elif told.name == SENTENCE_TRANSFORMERS:
        run = sentence_transformers(version, texts, told.threads)
    elif told.name in llm_child.NAMES:
        run = llm_child.run_of(told.name, version, folder, texts, told.threads)
    else:
        most = told.max_length
        run = engine(told.name, version, folder, texts, threads=told.threads, most=most)
    run()  # warm-up
    print("ready", file=own, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        values = run()
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "values": values}), file=own, flush=True)
    os._exit(0)  # OpenVINO's threads may abort an interpreter that ends by itself


if __name__ == "__main__":
    main()
