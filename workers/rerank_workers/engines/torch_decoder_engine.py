"""Runs a decoder-only language model with torch and reads one number per prompt."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from rerank_workers.engines.decoder import Head, Merging, Plan
from rerank_workers.engines.files import ModelFiles, ModelFilesError
from rerank_workers.engines.prompt import Ids, Prefix, Prompt
from rerank_workers.engines.torch_compression import Compressor
from rerank_workers.engines.torch_decoder import Decoder, Past
from rerank_workers.engines.torch_decoder_build import build
from rerank_workers.engines.torch_device import choose_dtype, device_memory
from rerank_workers.engines.torch_weights import read_weights
from rerank_workers.scorer import Context

KEPT_PREFIX_TOKENS = 2048
"""Most prefix tokens whose keys and values are kept: 0.7 GB for Gemma 2 9B in half precision."""


class Readout:
    """Turns the state of the last token into a number, in fp32."""

    def __init__(self, weights: Tensor, signs: Sequence[float], softcap: float | None) -> None:
        self._weights = weights.float()
        self._signs = torch.tensor(signs, device=weights.device)
        self._softcap = softcap

    def __call__(self, states: Tensor) -> Tensor:
        """(rows, width) to (rows,)."""
        logits = states.float() @ self._weights.T
        if self._softcap is not None:
            logits = torch.tanh(logits / self._softcap) * self._softcap
        return logits @ self._signs


class TorchDecoderEngine:
    """A decoder whose tensors lie on one device."""

    def __init__(
        self,
        decoder: Decoder,
        readout: Readout,
        merging: Merging | None,
        device: torch.device,
        settings: Mapping[str, str],
    ) -> None:
        self._decoder = decoder
        self._readout = readout
        self._merging = merging
        self._device = device
        self._settings = settings
        self._pasts: weakref.WeakKeyDictionary[Prefix, Past] = weakref.WeakKeyDictionary()

    @property
    def shares_prefixes(self) -> bool:
        """See `DecoderEngine.shares_prefixes`."""
        return True

    @property
    def settings(self) -> Mapping[str, str]:
        """See `DecoderEngine.settings`."""
        return self._settings

    @property
    def prefixes(self) -> int:
        """How many prefixes are kept."""
        return len(self._pasts)

    def run(self, prompts: Sequence[Prompt]) -> list[float]:
        """See `DecoderEngine.run`."""
        what = f"{len(prompts)} prompts of up to {max(prompt.tokens for prompt in prompts)} tokens"
        with device_memory(what), torch.inference_mode():
            pasts = self._recall(prompts)
            lengths = [len(prompt.ids) for prompt in prompts]
            ids = torch.zeros(len(prompts), max(lengths), dtype=torch.int64)
            for row, prompt in zip(ids, prompts, strict=True):
                row[: len(prompt.ids)] = torch.from_numpy(prompt.ids)
            states = self._decoder.read_last(
                ids.to(self._device),
                torch.tensor(lengths, device=self._device),
                pasts,
                self._compressor(prompts),
            )
            numbers: list[float] = self._readout(states).tolist()
        return numbers

    def _compressor(self, prompts: Sequence[Prompt]) -> Compressor | None:
        if self._merging is None:
            return None
        passages = [prompt.passage for prompt in prompts]
        return Compressor(passages, self._merging.ratio, self._merging.before_layers)

    def _recall(self, prompts: Sequence[Prompt]) -> list[Past | None]:
        """Find, or compute, the memory of each prompt's prefix."""
        pasts: list[Past | None] = []
        met: dict[Prefix, Past] = {}
        for prompt in prompts:
            prefix = prompt.prefix
            if len(prefix) and prefix not in met:
                known = self._pasts.get(prefix)
                met[prefix] = self._remember(prefix.ids) if known is None else known
            pasts.append(met.get(prefix))
        self._pasts.update(met)
        self._forget()
        return pasts

    def _remember(self, ids: Ids) -> Past:
        return self._decoder.remember(torch.from_numpy(ids).to(self._device, torch.int64))

    def _forget(self) -> None:
        """Drop the oldest prefixes beyond the limit; answered requests take theirs with them."""
        kept = 0
        for prefix in reversed(list(self._pasts)):
            kept += len(prefix)
            if kept > KEPT_PREFIX_TOKENS:
                del self._pasts[prefix]


def load_torch_decoder(context: Context, files: ModelFiles, plan: Plan) -> TorchDecoderEngine:
    """Load what `plan` needs of the model; sets the process's thread count.

    Raises:
        ModelFilesError: the files are damaged or incomplete.
        DeviceMemoryError: the device has no room for the model.
    """
    torch.set_num_threads(context.threads)
    device = torch.device(context.device)
    stored = read_weights(files)
    dtype = _choose_dtype(device, context.use_fp16, stored)
    with device_memory("the model"):
        needed = {n: t.to(device, dtype) for n, t in stored.items() if _is_used(n, plan)}
        decoder = build(files, needed, plan.depth, softcap=plan.attention_softcap)
        weights = _head_weights(files, stored, plan.head).to(device)
    softcap = files.config.get("final_logit_softcapping")
    capped_at = float(softcap) if isinstance(softcap, int | float) else None
    settings = {
        "engine": f"torch {torch.__version__}",
        "forward": "rerank_workers",
        "attention": "sdpa" if decoder.layers[0].attention.softcap is None else "capped",
        "layers": str(len(decoder.layers)),
        "dtype": str(dtype).removeprefix("torch."),
        "device": context.device,
        "threads": str(context.threads),
        "model_files": ", ".join(f"{path.parent.name}/{path.name}" for path in files.weights),
    }
    readout = Readout(weights, plan.head.signs, capped_at)
    return TorchDecoderEngine(decoder, readout, plan.merging, device, MappingProxyType(settings))


def _choose_dtype(
    device: torch.device, use_fp16: bool, stored: Mapping[str, Tensor]
) -> torch.dtype:
    """As for encoders, save that a model trained in bf16 may exceed the range of fp16."""
    chosen = choose_dtype(device, use_fp16)
    is_bfloat16 = any(tensor.dtype == torch.bfloat16 for tensor in stored.values())
    return torch.bfloat16 if chosen == torch.float16 and is_bfloat16 else chosen


def _is_used(name: str, plan: Plan) -> bool:
    """Leave layers above the cutoff, and heads, in the file."""
    _, found, behind = name.partition("layers.")
    if not found:
        return "lm_head" not in name and not name.startswith("score.")
    return plan.depth is None or int(behind.partition(".")[0]) < plan.depth


def _head_weights(files: ModelFiles, stored: Mapping[str, Tensor], head: Head) -> Tensor:
    """Take the head's rows; a model whose head is its table of words has no tensor of its own."""
    for name in (head.tensor, *(n for n in stored if n.endswith("embed_tokens.weight"))):
        if name in stored and (name == head.tensor or head.may_be_tied):
            rows = torch.tensor(head.rows)
            if int(rows.max()) < len(stored[name]):
                return stored[name][rows].float()
            raise ModelFilesError(
                f"{files.weights[0]}: {name} has no row {int(rows.max())}; does the tokenizer "
                "belong to this model?"
            )
    raise ModelFilesError(f"{files.weights[0]}: the tensor {head.tensor!r} is missing")
