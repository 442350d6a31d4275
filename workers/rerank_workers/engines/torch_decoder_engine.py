"""Runs a decoder-only language model with torch and reads one number per prompt."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from rerank_workers.engines.decoder import LM_HEAD, Head, Merging, Plan
from rerank_workers.engines.files import ModelFiles, ModelFilesError
from rerank_workers.engines.prompt import Ids, Prefix, Prompt
from rerank_workers.engines.torch_compression import Compressor
from rerank_workers.engines.torch_decoder import Decoder, Past
from rerank_workers.engines.torch_decoder_build import build, layer_count
from rerank_workers.engines.torch_device import choose_dtype, device_memory
from rerank_workers.engines.torch_timing import (
    FORMATS,
    Seconds,
    choose_on_cpu,
    least_seconds,
    name_of,
)
from rerank_workers.engines.torch_weights import read_weights
from rerank_workers.scorer import Context

KEPT_PREFIX_TOKENS = 2048
"""Most prefix tokens whose keys and values are kept: 0.7 GB for Gemma 2 9B in half precision."""
_TIMED_PROMPTS = 4
_TIMED_TOKENS = 128
"""Of each of them."""


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
        *,
        is_row_by_row: bool = False,
    ) -> None:
        self._is_row_by_row = is_row_by_row
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
        numbers: list[float] = []
        with device_memory(what), torch.inference_mode():
            pasts = self._recall(prompts)
            step = 1 if self._is_row_by_row else len(prompts)
            for first in range(0, len(prompts), step):
                part = slice(first, first + step)
                numbers += self._read(prompts[part], pasts[part])
        return numbers

    def _read(self, prompts: Sequence[Prompt], pasts: Sequence[Past | None]) -> list[float]:
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
    chosen: Mapping[str, str] = {}
    with device_memory("the model"):
        if device.type == "cpu":
            dtype, chosen = choose_on_cpu(context, files, partial(_time_formats, files, stored))
        needed = _Converted(stored, plan, device, dtype)
        decoder = build(files, needed, plan.depth, softcap=plan.attention_softcap)
        weights = _head_weights(files, stored, plan.head).to(device)
    softcap = files.config.get("final_logit_softcapping")
    capped_at = float(softcap) if isinstance(softcap, int | float) else None
    settings = {
        "engine": f"torch {torch.__version__}",
        "forward": "rerank_workers",
        "attention": "sdpa" if decoder.layers[0].attention.softcap is None else "capped",
        "layers": str(len(decoder.layers)),
        "dtype": name_of(dtype),
        **chosen,
        "device": context.device,
        "threads": str(context.threads),
        "model_files": ", ".join(f"{path.parent.name}/{path.name}" for path in files.weights),
    }
    readout = Readout(weights, plan.head.signs, capped_at)
    return TorchDecoderEngine(
        decoder,
        readout,
        plan.merging,
        device,
        MappingProxyType(settings),
        is_row_by_row=_is_row_by_row(device, dtype),
    )


def _is_row_by_row(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether prompts are read one after the other.

    Half precision rounds differently with the shape of a batch, so that a score would depend on
    its neighbours. On a CPU a prompt by itself fills the cores; a GPU needs the batch.
    """
    return device.type == "cpu" and dtype != torch.float32


def _time_formats(files: ModelFiles, stored: Mapping[str, Tensor]) -> Seconds:
    """Time the first two layers (the last one reads only one token) on a few prompts."""
    depth = min(2, layer_count(files))
    plan = Plan(Head(LM_HEAD), depth)
    few = {n: t[:1] if n.endswith("embed_tokens.weight") else t for n, t in stored.items()}
    ids = torch.zeros(_TIMED_PROMPTS, _TIMED_TOKENS, dtype=torch.int64)
    lengths = torch.full((_TIMED_PROMPTS,), _TIMED_TOKENS)
    device = torch.device("cpu")

    def run(decoder: Decoder, dtype: torch.dtype) -> None:
        step = 1 if _is_row_by_row(device, dtype) else _TIMED_PROMPTS
        for first in range(0, _TIMED_PROMPTS, step):
            part = slice(first, first + step)
            decoder.read_last(ids[part], lengths[part], [None] * step)

    decoders = {d: build(files, _Converted(few, plan, device, d), depth) for d in FORMATS}
    return least_seconds({dtype: partial(run, one, dtype) for dtype, one in decoders.items()})


class _Converted(Mapping[str, Tensor]):
    """The tensors a plan uses, each moved and converted when it is asked for.

    So that a model is never in memory twice while its layers are prepacked one after the other.
    """

    def __init__(
        self, stored: Mapping[str, Tensor], plan: Plan, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._stored = {name: t for name, t in stored.items() if _is_used(name, plan)}
        self._device = device
        self._dtype = dtype

    def __getitem__(self, name: str) -> Tensor:
        return self._stored[name].to(self._device, self._dtype)

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


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
