"""Arranges a checkpoint of a known decoder-only architecture into a `Decoder`.

Gemma, Gemma 2 (also as `cost_wise_gemma`, bge-reranker-v2.5-gemma2-lightweight), MiniCPM (as
bge-reranker-v2-minicpm-layerwise has it), Qwen2 and Qwen3: they differ in what is asked below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from rerank_workers.engines.files import ModelFiles, ModelFilesError
from rerank_workers.engines.torch_decoder import Attention, Decoder, Layer, RmsNorm
from rerank_workers.engines.torch_linear import Linear, linear

_GEMMAS = frozenset({"gemma", "gemma2", "cost_wise_gemma"})
_GEMMA2 = frozenset({"gemma2", "cost_wise_gemma"})
_KNOWN = _GEMMAS | {"minicpm", "qwen2", "qwen3"}

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "gelu": functional.gelu,
        "gelu_pytorch_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "silu": functional.silu,
    }
)
_EMBEDDINGS = "embed_tokens.weight"


def supports(files: ModelFiles) -> bool:
    """Tell whether the forward pass here is the model's own, going by its config."""
    config = files.config
    return (
        files.model_type in _KNOWN
        and _rope_kind(config) == "default"
        and _activation(files) in _ACTIVATIONS
        and not config.get("use_bidirectional_attention")
        and config.get("pretraining_tp", 1) == 1
    )


def build(
    files: ModelFiles, weights: Mapping[str, Tensor], depth: int | None, *, softcap: bool = True
) -> Decoder:
    """Arrange the tensors of the first `depth` layers (None: all) and of the final norm.

    Args:
        files: of an architecture `supports` said yes to.
        weights: the tensors by name, of one type and on one device; each is asked for once.
        depth: layers to use.
        softcap: whether attention is capped where the config says so.

    Raises:
        ModelFilesError: a tensor or a number in config.json is missing.
    """
    prefix = next((n.removesuffix(_EMBEDDINGS) for n in weights if n.endswith(_EMBEDDINGS)), "")
    parts = _Parts(files, weights, prefix, softcap)
    count = parts.whole("num_hidden_layers")
    used = count if depth is None else depth
    words = parts.tensor(_EMBEDDINGS)
    return Decoder(
        words=words,
        word_scale=parts.word_scale(),
        layers=tuple(parts.layer(index, count) for index in range(used)),
        norm=parts.norm("norm"),
        frequencies=parts.frequencies().to(words.device),
    )


def layer_count(files: ModelFiles) -> int:
    """How many layers the whole model has.

    Raises:
        ModelFilesError: config.json does not say.
    """
    return _whole(files, "num_hidden_layers")


@dataclass(frozen=True, slots=True)
class _Parts:
    """Finds parts of the model in a checkpoint by their names there."""

    files: ModelFiles
    weights: Mapping[str, Tensor]
    prefix: str
    softcap: bool

    def tensor(self, name: str) -> Tensor:
        found = self.weights.get(self.prefix + name)
        if found is None:
            where = self.files.weights[0]
            raise ModelFilesError(f"{where}: the tensor {self.prefix + name!r} is missing")
        return found

    def whole(self, key: str) -> int:
        return _whole(self.files, key)

    def linear(self, name: str) -> Linear:
        weight = self.tensor(f"{name}.weight")
        bias = self.weights.get(f"{self.prefix}{name}.bias")
        return linear(weight, bias, weight.device, weight.dtype)

    def norm(self, name: str) -> RmsNorm:
        weight = self.tensor(f"{name}.weight").float()
        if self.files.model_type in _GEMMAS:
            weight = weight + 1.0
        return RmsNorm(weight, _number(self.files, "rms_norm_eps", 1e-6))

    def optional_norm(self, name: str) -> RmsNorm | None:
        is_there = f"{self.prefix}{name}.weight" in self.weights
        return self.norm(name) if is_there else None

    def head_width(self) -> int:
        stated = self.files.config.get("head_dim")
        if isinstance(stated, int):
            return stated
        return self.whole("hidden_size") // self.whole("num_attention_heads")

    def word_scale(self) -> float:
        if self.files.model_type in _GEMMAS:
            return float(self.whole("hidden_size") ** 0.5)
        return _number(self.files, "scale_emb", 1.0)

    def frequencies(self) -> Tensor:
        width = self.head_width()
        # On the CPU, where the references compute them too.
        steps = torch.arange(0, width, 2, dtype=torch.float32) / width
        frequencies: Tensor = 1.0 / _rope_base(self.files) ** steps
        return frequencies

    def layer(self, index: int, count: int) -> Layer:
        own = f"layers.{index}"
        is_gemma2 = self.files.model_type in _GEMMA2
        after = f"{own}.post_attention_layernorm"
        depth_scale = self.files.config.get("scale_depth")
        return Layer(
            attention_norm=self.norm(f"{own}.input_layernorm"),
            attention=self.attention(index, count),
            attended_norm=self.norm(after) if is_gemma2 else None,
            mlp_norm=self.norm(f"{own}.pre_feedforward_layernorm" if is_gemma2 else after),
            gate=self.linear(f"{own}.mlp.gate_proj"),
            up=self.linear(f"{own}.mlp.up_proj"),
            down=self.linear(f"{own}.mlp.down_proj"),
            activation=_ACTIVATIONS[_activation(self.files)],
            mapped_norm=self.norm(f"{own}.post_feedforward_layernorm") if is_gemma2 else None,
            residual_scale=(
                float(depth_scale) / float(count) ** 0.5
                if isinstance(depth_scale, int | float)
                else 1.0
            ),
        )

    def attention(self, index: int, count: int) -> Attention:
        own = f"layers.{index}.self_attn"
        width = self.head_width()
        scale_by, capped_at = width, None
        if self.files.model_type in _GEMMA2:
            scale_by = int(_number(self.files, "query_pre_attn_scalar", 256))
            capped_at = _number(self.files, "attn_logit_softcapping", 0.0) or None
        return Attention(
            query=self.linear(f"{own}.q_proj"),
            key=self.linear(f"{own}.k_proj"),
            value=self.linear(f"{own}.v_proj"),
            output=self.linear(f"{own}.o_proj"),
            query_norm=self.optional_norm(f"{own}.q_norm"),
            key_norm=self.optional_norm(f"{own}.k_norm"),
            head_width=width,
            scale=float(scale_by) ** -0.5,
            softcap=capped_at if self.softcap else None,
            window=_window(self.files, index, count),
        )


def _window(files: ModelFiles, index: int, count: int) -> int | None:
    """How far the layer of that number looks back, going by what each architecture writes."""
    config = files.config
    window, kinds = config.get("sliding_window"), config.get("layer_types")
    if not isinstance(window, int):
        return None
    if isinstance(kinds, list) and len(kinds) == count:
        return window if kinds[index] == "sliding_attention" else None
    if files.model_type in _GEMMA2:
        return window if index % 2 == 0 else None
    first = config.get("max_window_layers", 28)
    if config.get("use_sliding_window") is not True or not isinstance(first, int):
        return None
    return window if index >= first else None


def _activation(files: ModelFiles) -> str:
    name = files.config.get("hidden_activation") or files.config.get("hidden_act")
    if files.model_type in _GEMMAS and name in (None, "gelu"):
        # Early Gemma configs say "gelu" and mean its approximation.
        # https://github.com/huggingface/transformers/pull/29402
        return "gelu_pytorch_tanh"
    return "silu" if name is None else str(name)


def _rope_kind(config: Mapping[str, object]) -> str:
    stated = config.get("rope_parameters") or config.get("rope_scaling")
    if not isinstance(stated, Mapping):
        return "default"
    return str(stated.get("rope_type", stated.get("type", "default")))


def _rope_base(files: ModelFiles) -> float:
    """Find the base of the rotary positions; transformers 5 writes it into an object."""
    inner = files.config.get("rope_parameters")
    base = inner.get("rope_theta") if isinstance(inner, Mapping) else None
    return float(base) if isinstance(base, int | float) else _number(files, "rope_theta", 10000.0)


def _whole(files: ModelFiles, key: str) -> int:
    value = files.config.get(key)
    if not isinstance(value, int) or value < 1:
        raise ModelFilesError(f"{files.directory / 'config.json'}: {key}: {value!r}")
    return value


def _number(files: ModelFiles, key: str, default: float) -> float:
    value = files.config.get(key, default)
    if value is None:
        return 0.0
    if not isinstance(value, int | float):
        raise ModelFilesError(f"{files.directory / 'config.json'}: {key}: {value!r}")
    return float(value)
