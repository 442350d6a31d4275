"""The files of a version directory: what is wrong with them, which interpreter, what they are."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from rerank_server.core import environment
from rerank_server.core.weights import is_weights


def examine(directory: Path, source: str, models: Collection[str]) -> tuple[str, str | None]:
    """Return the fingerprint of a version's files, and why they cannot be served, or None.

    `models` are the model folders that are needed.
    """
    try:
        for model in sorted(models, reverse=True):
            problem = find_problem(directory, source, model)
            if problem is not None:
                return "", problem
        return fingerprint(directory), None
    except OSError as error:
        return "", f"its files cannot be read: {error.filename}: {error.strerror}"


def find_problem(directory: Path, source: str, model: str) -> str | None:
    """Return why the files in a version directory cannot be served, in one line, or None."""
    weights = directory / model
    has_weights = weights.is_dir() and any(
        is_weights(file.name) for file in weights.rglob("*") if file.is_file()
    )
    has_code = (directory / "rerank.py").is_file()
    if not has_weights and not (has_code and not weights.exists() and _is_bare(directory)):
        what = "no model files" if model == "model" else f"no model files in {model}/"
        return f"{what}; run: rerank-server pull {source}"
    if not has_code:
        return f"no rerank.py in {directory}; run: rerank-server init {source}"
    return find_environment_problem(directory, source)


def find_environment_problem(directory: Path, source: str) -> str | None:
    """Return why a version's own environment cannot be used, in one line, or None.

    A failed install is told with its reason, until requirements.txt changes or it succeeds.
    """
    path = directory / "requirements.txt"
    if not path.is_file():
        return None
    try:
        requirements = path.read_bytes()
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    stamp = _text(directory / ".venv" / environment.STAMP)
    if interpreter(directory).is_file() and environment.fits(stamp, requirements):
        return None
    remedy = f"; run: rerank-server install {source}"
    why = environment.reason(_text(directory / environment.FAILURE), requirements)
    if why is not None:
        return f"its requirements could not be installed: {why}{remedy}"
    return f"its requirements are not installed{remedy}"


def _text(path: Path) -> str:
    """Return a small file's text, empty when there is none to be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _is_bare(directory: Path) -> bool:
    """Tell whether rerank.py brings no model files by design: it lies there all alone.

    A folder that holds a tokenizer/ waits for its weights; one with nothing but code (an API
    client, a rule) is complete.
    """
    return not (directory / "tokenizer").exists()


def interpreter(directory: Path) -> Path:
    """Return the Python that runs the version: its own environment's, or this one."""
    if (directory / "requirements.txt").is_file():
        return directory / ".venv" / "bin" / "python"
    return Path(sys.executable)


def fingerprint(directory: Path) -> str:
    """Digest path, size and modification time of the version's files, its environment's apart.

    Of the environment only the stamp counts that says what was installed.
    """
    digest = hashlib.blake2s(digest_size=12)
    for path, size, mtime_ns in sorted(_files(directory, "")):
        digest.update(f"{path}\0{size}\0{mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files(directory: Path, prefix: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and modification time of each file; -1 and 0 of one that is not there.

    A link may lead nowhere, and a file may be replaced while this looks.
    """
    with os.scandir(directory) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.name == "__pycache__" or (
                entry.name.startswith(".") and entry.name != ".venv"
            ):
                continue
            if name == ".venv":
                stamp = Path(entry.path) / environment.STAMP
                if stamp.is_file():
                    yield name, *_size_and_time(stamp)
            elif entry.is_dir():
                yield from _files(Path(entry.path), name + "/")
            else:
                yield name, *_size_and_time(Path(entry.path))


def _size_and_time(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except FileNotFoundError:
        return -1, 0
    return found.st_size, found.st_mtime_ns
