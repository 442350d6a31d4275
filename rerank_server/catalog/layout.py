"""Decides where each file of a Hugging Face folder belongs in a version directory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from rerank_server.errors import CatalogError

_OWN_FOLDERS = frozenset({"model", "tokenizer", "model_cpu"})
_OWN_FILES = frozenset({"rerank.py", "requirements.txt", "NOTICE", "LICENSE", "README.md"})

_TOKENIZER_FILES = frozenset(
    {
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "merges.txt",
        "sentencepiece.bpe.model",
        "special_tokens_map.json",
        "spiece.model",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "vocab.json",
        "vocab.txt",
    }
)
_LOADABLE = frozenset({"tokenizer.json", "vocab.txt", "vocab.json"})
"""A folder with one of these, or with a SentencePiece model, can be tokenized with."""

# Weights in the order of preference: the safe format, PyTorch's, a graph.
_WEIGHTS = (
    re.compile(r"^model(-\d+-of-\d+)?\.safetensors$"),
    re.compile(r"^pytorch_model(-\d+-of-\d+)?\.bin$"),
    re.compile(r"^(onnx/)?model\.onnx$"),
)
_ANY_WEIGHT = re.compile(r"\.(safetensors|bin|onnx|onnx_data|h5|msgpack|ot|pt|pth|gguf)$")
_KEPT = re.compile(r"\.(json|py|txt|metadata)$")


def arrange(paths: Iterable[str]) -> Mapping[str, str]:
    """Map the files of a folder to their places in a version directory; leave out the rest.

    Paths are relative, with forward slashes. One folder that holds everything is seen through.
    Of several formats of the weights only the best is taken. Files that lie in `model/`,
    `tokenizer/` or `model_cpu/` already stay there.

    Raises:
        CatalogError: a path leads out of the folder, or weights or the tokenizer are missing.
    """
    paths = list(paths)
    for path in paths:
        require_inside(path)
    names = {_within(path, top): path for top, path in _below_top(paths)}
    places = {name: place for name in names if (place := _place(name)) is not None}
    if not _has_weights(places):
        places |= _chosen_weights(names)
    if not _has_weights(places):
        raise CatalogError("no weights in it (model.safetensors, pytorch_model.bin or model.onnx)")
    if not any(_can_tokenize(place) for place in places.values()):
        raise CatalogError("no tokenizer in it (tokenizer.json or a vocabulary)")
    return {names[name]: place for name, place in places.items()}


def require_inside(path: str) -> None:
    """Refuse a relative path that would leave the folder it is meant for.

    Raises:
        CatalogError: it is absolute, goes up, or is not a plain path at all.
    """
    parts = path.split("/")
    if not path or "" in parts or ".." in parts or "." in parts or "\\" in path or "\0" in path:
        raise CatalogError(f"{path!r} is not a path inside a version")


def _below_top(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Pair every path with the folder that holds them all, "" if there is none."""
    files = [path for path in paths if not _is_hidden(path)]
    loose = [path for path in files if path not in _OWN_FILES]
    tops = {path.split("/", 1)[0] if "/" in path else "" for path in loose}
    top = tops.pop() if len(tops) == 1 else ""
    return [("" if top in _OWN_FOLDERS or path in _OWN_FILES else top, path) for path in files]


def _within(path: str, top: str) -> str:
    return path.removeprefix(f"{top}/") if top else path


def _is_hidden(path: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.split("/"))


def _place(name: str) -> str | None:
    """Where a file that is no loose weight belongs; None for what no version needs."""
    parts = name.split("/")
    if parts[0] in _OWN_FOLDERS and len(parts) > 1:
        return name
    base = parts[-1]
    if len(parts) == 1 and base in _OWN_FILES:
        return base
    if len(parts) == 1 and (base in _TOKENIZER_FILES or base.startswith("tokenization_")):
        return f"tokenizer/{base}"
    if _ANY_WEIGHT.search(base) or base.endswith((".index.json", ".onnx.json")):
        return None
    # Settings of pooling and dense layers stand in folders of their own: 1_Pooling/config.json.
    if _KEPT.search(base) and (len(parts) == 1 or re.match(r"^\d+_[A-Z]\w*$", parts[0])):
        return f"model/{name}"
    return None


def _chosen_weights(names: Iterable[str]) -> Mapping[str, str]:
    for pattern in _WEIGHTS:
        chosen = [name for name in names if pattern.match(name)]
        if chosen:
            suffix = PurePosixPath(chosen[0]).suffix
            chosen += [name for name in names if name.endswith(f"model{suffix}.index.json")]
            return {name: f"model/{PurePosixPath(name).name}" for name in chosen}
    return {}


def _has_weights(places: Mapping[str, str]) -> bool:
    return any(p.startswith("model/") and _ANY_WEIGHT.search(p) for p in places.values())


def _can_tokenize(place: str) -> bool:
    folder, _, base = place.rpartition("/")
    return folder in ("tokenizer", "model") and (base in _LOADABLE or base.endswith(".model"))
