"""The decoders' forward pass in half precision, as on a GPU; run here on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rerank_workers.engines.files import read_model_files
from rerank_workers.engines.torch_compression import Compressor
from rerank_workers.engines.torch_decoder import Decoder
from rerank_workers.engines.torch_decoder_build import build
from rerank_workers.engines.torch_weights import read_weights

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
