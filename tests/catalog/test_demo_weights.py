from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.weights

QUERY = (
    "Which company developed the first commercial jet airliner that entered service in 1952, "
    "and what was its name?"
)
DOCS = [
    "The de Havilland Comet was the world's first commercial jet airliner, entering service with "
    "BOAC in 1952.",
    "Boeing 707 entered service in 1958, developed by Boeing Company.",
    "Concorde was a supersonic transport aircraft, not a commercial jet airliner.",
]


@pytest.fixture
def minilm() -> Path:
    directory = Path(__file__).parents[2] / "models" / "v2-minilm"
    if not (directory / "model" / "model.safetensors").is_file():
        pytest.skip("models/v2-minilm is not there; run: rerank-server pull v2-minilm")
    return directory


def test_the_dequantised_cross_encoder_gives_the_known_logits(minilm: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm / "tokenizer", local_files_only=True)
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        minilm / "model", local_files_only=True, output_loading_info=True
    )
    pairs = tokenizer([QUERY] * len(DOCS), DOCS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**pairs).logits.view(-1).tolist()

    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    assert logits == pytest.approx([8.25, 3.77, -1.88], abs=0.02)
