"""Finds everything that keeps a version's files from being served, without running its code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rerank_server.catalog import version_code
from rerank_server.catalog.environment import needs_install
from rerank_server.catalog.staging import disk_errors
from rerank_server.core.weights import is_weights
from rerank_server.errors import CatalogError
from rerank_server.names import is_version_name

_TOKENIZER_S = 120.0
"""Loading a large vocabulary with transformers takes seconds, importing it some more."""

_LOAD_TOKENIZER = """
import os, sys
folder = sys.argv[1]
fast = os.path.join(folder, "tokenizer.json")
if os.path.exists(fast):
    import tokenizers
    tokenizers.Tokenizer.from_file(fast).encode("a", "b")
else:
    import transformers
    transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)("a", "b")
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a version."""

    version: str
    text: str
    """One line, with what to do about it where that is known."""


def inspect_version(name: str, directory: Path, model: str = "model") -> tuple[Problem, ...]:
    """Check the files of a version; gives all problems, none when it can be served.

    Args:
        name: the version's name, which also names its directory.
        directory: where its files are.
        model: the folder of the weights that would be loaded.

    Blocks; the tokenizer is loaded in a process of its own, by the version's own interpreter.
    """
    return tuple(Problem(name, text) for text in _problems(name, directory, model))


def _problems(name: str, directory: Path, model: str) -> Iterator[str]:
    if not is_version_name(name):
        yield f"{name!r} is not a version name; names look like v1 or v2-m3"
    if not directory.is_dir():
        yield f"{directory} is not there; run: rerank-server pull {name}"
        return
    code_problem = version_code.fault(directory / "rerank.py")
    if code_problem is not None:
        yield code_problem
    yield from _tree_problems(directory)
    stale = _is_stale(directory)
    if stale is not None:
        yield stale
    # A version may be nothing but code: a client of another service, a rule.
    if code_problem is None and not any((directory / d).exists() for d in (model, "tokenizer")):
        return
    yield from _model_problems(name, directory / model)
    if stale is None:
        yield from _tokenizer_problems(directory, model)


def _tree_problems(directory: Path) -> Iterator[str]:
    for folder, names, files in os.walk(directory):
        names[:] = [name for name in names if not (name.startswith(".") or name == "__pycache__")]
        for entry in (*names, *files):
            path = Path(folder) / entry
            if path.is_symlink():
                yield f"{path.relative_to(directory)} is a link; a version holds its own files"
            elif not os.access(path, os.R_OK):
                yield f"{path.relative_to(directory)} cannot be read by this user"


def _is_stale(directory: Path) -> str | None:
    try:
        is_stale = needs_install(directory)
    except CatalogError as error:
        return error.message
    if not is_stale:
        return None
    return f"its requirements are not installed; run: rerank-server install {directory.name}"


def _model_problems(name: str, folder: Path) -> Iterator[str]:
    weights = [path for path in sorted(folder.rglob("*")) if is_weights(path.name)]
    if not weights:
        yield f"no model files in {folder.name}/; run: rerank-server pull {name}"
        return
    for path in weights:
        problem = _weights_problem(path)
        if problem is not None:
            yield f"{path.relative_to(folder.parent)}: {problem}"
    for index in sorted(folder.glob("*.index.json")):
        yield from _missing_shards(index)
    config = folder / "config.json"
    if config.is_file():
        yield from _json_problems(config)
    elif any(path.suffix in (".safetensors", ".bin") for path in weights):
        yield f"no config.json in {folder.name}/"


def _weights_problem(path: Path) -> str | None:
    """Tell whether a weight file is visibly not whole."""
    with disk_errors(path):
        size = path.stat().st_size
        if size == 0:
            return "is empty"
        if path.suffix != ".safetensors":
            return None
        # Eight bytes give the header's length; the header gives where each tensor ends.
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > size - 8:
                return "is cut off"
            header = file.read(length)
    try:
        tensors = [value for key, value in json.loads(header).items() if key != "__metadata__"]
        end = max((tensor["data_offsets"][1] for tensor in tensors), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "is not a safetensors file"
    if 8 + length + end != size:
        return f"is {size} bytes long, {8 + length + end} are described in it"
    return None


def _missing_shards(index: Path) -> Iterator[str]:
    try:
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        yield f"{index.parent.name}/{index.name} is not an index of weights"
        return
    for shard in sorted({str(shard) for shard in shards}):
        if not (index.parent / shard).is_file():
            yield f"{index.parent.name}/{shard} is missing, though {index.name} names it"


def _json_problems(path: Path) -> Iterator[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f"{path.parent.name}/{path.name}: {error}"
        return
    if not isinstance(content, dict):
        yield f"{path.parent.name}/{path.name}: a JSON object was expected"


def _tokenizer_problems(directory: Path, model: str) -> Iterator[str]:
    """Load the tokenizer as the version would, in a process that may die of it."""
    own = directory / "tokenizer"
    folder = own if own.is_dir() else directory / model
    if folder.is_dir() and not any(folder.iterdir()):
        yield f"{folder.name}/: it is empty; the tokenizer's files belong here"
        return
    python = sys.executable
    if (directory / "requirements.txt").is_file():
        python = str(directory / ".venv" / "bin" / "python")
    try:
        ran = subprocess.run(
            [python, "-I", "-c", _LOAD_TOKENIZER, str(folder.absolute())],
            env={"PATH": os.environ.get("PATH", ""), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=_TOKENIZER_S,
        )
    except subprocess.TimeoutExpired:
        yield f"{folder.name}/: loading the tokenizer took more than {_TOKENIZER_S:g} s"
        return
    if ran.returncode != 0:
        said = [line for line in ran.stderr.splitlines() if line.strip()]
        reason = said[-1].strip() if said else f"the process ended with {ran.returncode}"
        yield f"{folder.name}/: the tokenizer cannot be loaded ({reason})"
