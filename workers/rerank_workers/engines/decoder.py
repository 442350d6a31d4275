"""The interface of engines that read prompts with a language model, and the choice of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rerank_workers.engines.engine import AUTO, TORCH
from rerank_workers.engines.files import ModelFiles, ModelFilesError
from rerank_workers.engines.prompt import Prompt
from rerank_workers.scorer import Context

LM_HEAD = "lm_head.weight"


@dataclass(frozen=True, slots=True)
class Head:
    """Which rows of which matrix the last token's state meets; the products are summed."""

    tensor: str
    rows: tuple[int, ...] = (0,)
    signs: tuple[float, ...] = (1.0,)

    @property
    def may_be_tied(self) -> bool:
        """Whether the table of words takes its place where the checkpoint lacks it."""
        return self.tensor == LM_HEAD


@dataclass(frozen=True, slots=True)
class Merging:
    """How passages get shorter on the way: `ratio` tokens become one before some layers."""

    ratio: int
    before_layers: frozenset[int]

    def __str__(self) -> str:
        return f"{self.ratio} before layers {', '.join(map(str, sorted(self.before_layers)))}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is computed of a model."""

    head: Head
    depth: int | None = None
    """Layers to run; None for all."""
    merging: Merging | None = None
    attention_softcap: bool = True
    """Whether attention is capped where the config says so."""


class DecoderEngine(Protocol):
    """A loaded language model. A prompt's number is the same whichever prompts stand beside it."""

    @property
    def shares_prefixes(self) -> bool:
        """Whether a prefix shared by several prompts is computed once."""

    @property
    def settings(self) -> Mapping[str, str]:
        """See `Engine.settings`."""

    def run(self, prompts: Sequence[Prompt]) -> list[float]:
        """Compute one number per prompt.

        Blocks. One thread at a time.

        Raises:
            DeviceMemoryError: the batch did not fit.
        """


def load_decoder(
    context: Context, files: ModelFiles, plan: Plan, name: str = AUTO
) -> DecoderEngine:
    """Load a language model for what `plan` asks.

    Raises:
        ModelFilesError: no such engine, no file for it to run, or it cannot run the file.
        DeviceMemoryError: the device has no room for the model.
    """
    if name not in (AUTO, TORCH):
        raise ModelFilesError(f"no engine {name!r} for language models; there is {TORCH}")
    if not files.weights:
        raise ModelFilesError(f"{files.directory}: no weights for the torch engine")
    from rerank_workers.engines import torch_decoder_build

    if torch_decoder_build.supports(files):
        from rerank_workers.engines.torch_decoder_engine import load_torch_decoder

        return load_torch_decoder(context, files, plan)
    from rerank_workers.engines.torch_auto_decoder import load_auto_decoder

    return load_auto_decoder(context, files, plan)
