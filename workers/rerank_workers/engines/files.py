"""What lies in a model folder: config, weights, ONNX graph, and the limits the config states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ONNX_NAMES = ("model.onnx", "onnx/model.onnx")
IR_NAME = "openvino.xml"
"""The graph `optimize` writes; its weights lie beside it in openvino.bin."""
_WEIGHT_NAMES = ("model.safetensors", "pytorch_model.bin")  # the safe format first

# These count positions from pad_token_id + 1, so that many of the stated ones are never used.
# https://github.com/huggingface/transformers, create_position_ids_from_input_ids
_OFFSET_POSITIONS = frozenset(
    {
        "camembert",
        "data2vec-text",
        "ibert",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
_NO_LIMIT = 1_000_000  # transformers writes 1e30 for "no limit known"


class ModelFilesError(Exception):
    """The version's files are missing, unreadable or of a kind that cannot be run."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one model folder."""

    directory: Path
    config: Mapping[str, object]
    """config.json; empty where there is none."""
    weights: tuple[Path, ...]
    """Safetensors shards, or .bin shards where there is nothing better; may be empty."""
    onnx: Path | None
    ir: Path | None = None
    """OpenVINO's graph."""

    @property
    def model_type(self) -> str:
        """The config's `model_type`, or ""."""
        return str(self.config.get("model_type", ""))

    @property
    def architectures(self) -> tuple[str, ...]:
        """Class names the config gives; may be empty."""
        names = self.config.get("architectures")
        return tuple(str(name) for name in names) if isinstance(names, list) else ()

    @property
    def pad_token_id(self) -> int | None:
        """The padding token the model was trained with, where the config says."""
        return _integer(self.config, "pad_token_id")

    @property
    def max_positions(self) -> int | None:
        """Most tokens one input may have, where the config says."""
        positions = _integer(self.config, "max_position_embeddings")
        if positions is None or self.model_type not in _OFFSET_POSITIONS:
            return positions
        return positions - (1 if self.pad_token_id is None else self.pad_token_id) - 1


def read_model_files(directory: Path) -> ModelFiles:
    """List a model folder.

    Raises:
        ModelFilesError: there is no model in it, or its config.json cannot be read.
    """
    weights = next(
        (found for name in _WEIGHT_NAMES if (found := _shards(directory / name))),
        (),
    )
    onnx = next((path for name in _ONNX_NAMES if (path := directory / name).is_file()), None)
    ir = path if (path := directory / IR_NAME).is_file() else None
    if not weights and onnx is None and ir is None:
        raise ModelFilesError(
            f"{directory}: no model files (model.safetensors, pytorch_model.bin or model.onnx)"
        )
    return ModelFiles(directory, read_json(directory / "config.json"), weights, onnx, ir)


def read_json(path: Path) -> Mapping[str, object]:
    """Read a JSON object; a missing file reads as an empty one.

    Raises:
        ModelFilesError: it is not a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelFilesError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelFilesError(f"{path}: a JSON object was expected")
    return content


def stated_max_length(tokenizer_dir: Path) -> int | None:
    """Read the longest input the tokenizer's config states, for models whose own does not."""
    limit = read_json(tokenizer_dir / "tokenizer_config.json").get("model_max_length")
    if not isinstance(limit, int | float) or not 0 < limit < _NO_LIMIT:
        return None
    return int(limit)


def _shards(path: Path) -> tuple[Path, ...]:
    """The file itself, or the shards its index names, or nothing."""
    if path.is_file():
        return (path,)
    index = path.with_name(path.name + ".index.json")
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict):
        return ()
    shards = tuple(path.parent / str(name) for name in sorted(set(names.values())))
    for shard in shards:
        if not shard.is_file():
            raise ModelFilesError(f"{shard}: missing, though {index.name} names it")
    return shards


def _integer(config: Mapping[str, object], key: str) -> int | None:
    value = config.get(key)
    return value if isinstance(value, int) else None
