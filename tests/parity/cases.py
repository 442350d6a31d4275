"""Which model is held to which reference, over which lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.parity import grid

NOW = "now"
"""The reference's environment with the transformers this project runs with."""
BEFORE = "before"
"""One with transformers 4.46, for references that do not run, or run wrong, with 5."""

MINILM = "v2-minilm"
"""The demo version's real weights; every other model is one of `tiny_models`."""

Golden: TypeAlias = dict[str, list[float]]
"""Scores of the case's pairs by max_length."""


@dataclass(frozen=True)
class Case:
    """One family with one setting, compared with one reference."""

    name: str
    model: str
    family: str
    reference: str
    """A function of `references`."""
    environments: tuple[str, ...]
    """The first one's numbers are recorded; those of others must be equal to them."""
    max_lengths: tuple[int, ...]
    options: Mapping[str, object] = field(default_factory=dict)
    """Given to both the reference and our family's `load`."""
    pairs: tuple[tuple[str, str], ...] = grid.PAIRS


_ENCODER = (21, 64, 128)
_BGE = (16, 64, 200)
_QWEN = (200, 320)
_UNCUT = tuple((query, doc) for query, doc in grid.PAIRS if len(query) + len(doc) < 600)

CASES = (
    Case("bert", "bert", "cross_encoder", "flag_encoder", (BEFORE,), _ENCODER),
    Case("xlm-roberta", "xlm-roberta", "cross_encoder", "flag_encoder", (BEFORE,), _ENCODER),
    Case("modernbert", "modernbert", "cross_encoder", "transformers_pairs", (NOW,), (21, 64, 256)),
    Case("gemma", "gemma", "yes_logit", "flag_llm", (BEFORE, NOW), _BGE),
    Case("minicpm-last", "minicpm-layerwise", "layerwise", "flag_layerwise", (BEFORE,), _BGE),
    Case(
        "minicpm-cutoff",
        "minicpm-layerwise",
        "layerwise",
        "flag_layerwise",
        (BEFORE,),
        _BGE,
        {"cutoff_layers": [4]},
    ),
    Case("gemma2-last", "gemma2-lightweight", "lightweight", "flag_lightweight", (BEFORE,), _BGE),
    Case(
        "gemma2-cutoff",
        "gemma2-lightweight",
        "lightweight",
        "flag_lightweight",
        (BEFORE,),
        _BGE,
        {"cutoff_layers": [4]},
    ),
    *(
        Case(
            f"gemma2-compress{ratio}",
            "gemma2-lightweight",
            "lightweight",
            "flag_lightweight",
            (BEFORE,),
            _BGE,
            {"cutoff_layers": [5], "compress_ratio": ratio, "compress_layers": [2, 4]},
        )
        for ratio in (2, 4, 8)
    ),
    Case("qwen3", "qwen3", "yes_no", "qwen3_card", (NOW,), _QWEN),
    Case("qwen3-seq-cls", "qwen3-seq-cls", "yes_no", "qwen3_seq_cls", (NOW,), _QWEN),
    Case("mxbai", "qwen2-mxbai", "yes_no", "mxbai", (BEFORE,), _BGE),
    Case("minilm", MINILM, "cross_encoder", "flag_encoder", (BEFORE,), (64, 512)),
    # Its library cuts pairs another way, so it has a say only on those that need no cutting.
    Case(
        "minilm-sentence-transformers",
        MINILM,
        "cross_encoder",
        "sentence_transformers",
        (NOW,),
        (512,),
        pairs=_UNCUT,
    ),
)
