"""The requests a variant is judged and calibrated on: labelled ones, the user's own, or ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_OWN = Path(__file__).parent / "texts.jsonl"
"""English descriptions of Debian packages, made by benchmarks/debian_pairs.py."""

_DOCS = 20
"""Documents of a request made up from a plain list: its own and the ones after it."""
_QUERY_WORDS = 12


class TextsError(Exception):
    """The file of texts cannot be used."""


@dataclass(frozen=True, slots=True)
class Request:
    """A query, its documents, and which of them are relevant (indices; may be empty)."""

    query: str
    docs: tuple[str, ...]
    relevant: tuple[int, ...]


def own() -> list[Request]:
    """Read the texts that come with the package."""
    return read(_OWN)


def read(path: Path) -> list[Request]:
    """Read requests from a file of JSON lines, or make them up from a plain file.

    A line `{"query": str, "docs": [str], "relevant": [index]}` is a request, `relevant` may be
    left out. In any other file every line is one of the user's documents, as text or
    as `{"text": str}`: its first words become a query it is relevant to.

    Raises:
        TextsError: the file cannot be read, or holds too little.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise TextsError(f"{path}: {error}") from error
    found = [_parsed(line) for line in lines]
    requests = [_request(value, path, n) for n, value in enumerate(found, 1) if _is_request(value)]
    if requests:
        return requests
    docs = [str(v["text"]) if isinstance(v, dict) and "text" in v else line
            for v, line in zip(found, lines, strict=True)]  # fmt: skip
    if len(docs) < _DOCS:
        raise TextsError(f"{path}: {len(docs)} documents; at least {_DOCS} are needed")
    return made_up(docs)


def made_up(docs: Sequence[str]) -> list[Request]:
    """Take each document's first words as a query; the documents after it are the others."""
    requests = []
    for index in range(0, len(docs) - _DOCS + 1, _DOCS // 2):
        group = tuple(docs[index : index + _DOCS])
        sentence = re.split(r"(?<=[.!?。！？])\s*", group[0], maxsplit=1)[0]  # noqa: RUF001
        words = sentence.split()
        # A script without spaces is cut by characters.
        query = " ".join(words[:_QUERY_WORDS]) if len(words) > 1 else sentence[: _QUERY_WORDS * 3]
        requests.append(Request(query, group, (0,)))
    return requests


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return line


def _is_request(value: object) -> bool:
    return isinstance(value, dict) and "query" in value and "docs" in value


def _request(value: object, path: Path, line: int) -> Request:
    assert isinstance(value, Mapping)
    query, docs, relevant = value["query"], value["docs"], value.get("relevant", [])
    if not isinstance(query, str) or not isinstance(docs, list) or not docs:
        raise TextsError(f"{path}:{line}: query must be a text and docs a list of texts")
    if not all(isinstance(index, int) and 0 <= index < len(docs) for index in relevant):
        raise TextsError(f"{path}:{line}: relevant must hold indices of docs")
    return Request(query, tuple(str(doc) for doc in docs), tuple(relevant))
