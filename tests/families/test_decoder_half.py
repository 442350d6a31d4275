"""Language models in half precision: the forward pass, and when a CPU uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rerank_workers.engines.choice import STORE, processor
from rerank_workers.engines.files import read_model_files
from rerank_workers.engines.torch_compression import Compressor
from rerank_workers.engines.torch_decoder import Decoder
from rerank_workers.engines.torch_decoder_build import build
from rerank_workers.engines.torch_weights import read_weights
from rerank_workers.families import yes_logit
from rerank_workers.families.language_model import LanguageModel
from rerank_workers.scorer import Context
from tests.parity import grid

MODELS = ("gemma", "minicpm-layerwise", "gemma2-lightweight", "qwen3", "qwen2-mxbai")


def decoder(directory: Path, dtype: torch.dtype) -> Decoder:
    files = read_model_files(directory / "model")
    weights = {name: tensor.to(dtype) for name, tensor in read_weights(files).items()}
    return build(files, weights, None)


def last_states(model: Decoder) -> torch.Tensor:
    """Read two rows behind a prefix and one without, the passages merged on the way."""
    ids = torch.tensor([[5, 9, 11, 7, 8, 40], [6, 30, 0, 0, 0, 0], [33, 4, 9, 9, 0, 0]])
    with torch.inference_mode():
        past = model.remember(torch.arange(3, 33))
        compress = Compressor([(1, 5), (0, 1), (1, 3)], 2, frozenset({1, 2}))
        lengths = torch.tensor([6, 2, 4])
        return model.read_last(ids, lengths, [past, None, past], compress)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_half_precision_is_kept_throughout_and_comes_near(
    tiny_llm: Callable[[str], Path], name: str, dtype: torch.dtype
) -> None:
    exact = last_states(decoder(tiny_llm(name), torch.float32))

    half = last_states(decoder(tiny_llm(name), dtype))

    assert half.dtype == dtype
    alike = torch.nn.functional.cosine_similarity(half.float(), exact, dim=-1)
    assert alike.min() > (0.999 if dtype == torch.float16 else 0.98)


def load(directory: Path, store: Path | None, *, use_fp16: bool = True) -> LanguageModel:
    options = {} if store is None else {STORE: str(store)}
    return yes_logit.load(
        Context("v2", directory, max_length=64, use_fp16=use_fp16, threads=2, options=options)
    )


def test_a_cpu_keeps_float32_unless_half_was_asked_for_and_can_be_remembered(
    tiny_llm: Callable[[str], Path], tmp_path: Path
) -> None:
    store = tmp_path / "v2.json"

    assert load(tiny_llm("gemma"), None).info["dtype"] == "float32"
    assert load(tiny_llm("gemma"), store, use_fp16=False).info["dtype"] == "float32"
    assert not store.exists()


@pytest.mark.skipif(not processor().has_half, reason="this CPU multiplies no bf16")
def test_the_format_a_self_timing_chose_stays_and_a_score_is_its_own_in_either(
    tiny_llm: Callable[[str], Path], tmp_path: Path
) -> None:
    store = tmp_path / "v2.json"
    told = load(tiny_llm("gemma"), store).info["self_timing"]
    remembered = json.loads(store.read_text())
    raw: dict[str, list[float]] = {}

    for dtype in ("float32", "bfloat16"):
        store.write_text(json.dumps({**remembered, "winner": dtype}))
        scorer = load(tiny_llm("gemma"), store)
        items = list(scorer.encode(grid.QUERIES[0], grid.DOCUMENTS))
        raw[dtype] = list(scorer.score(items))
        alone = [scorer.score([item])[0] for item in items]

        assert scorer.info["dtype"] == dtype
        assert np.abs(np.subtract(raw[dtype], alone)).max() < 1e-5

    assert {part.split()[0] for part in told.split(", ")} == {"float32", "bfloat16"}
    spread = np.std(raw["float32"])
    assert 0 < np.abs(np.subtract(raw["bfloat16"], raw["float32"])).max() < 0.2 * spread
