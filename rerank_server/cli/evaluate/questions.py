"""Reads labelled questions from JSON lines, and says of each wrong line what is wrong."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rerank_server.errors import UsageError
from rerank_server.names import nearest

STDIN = Path("-")
_KEYS = ("query", "docs", "relevant", "grades")
_OTHERS_LABELS = ("label", "labels", "positives", "answers", "scores")
"""What other tools' files call them."""
_MOST_SHOWN = 20
_HIGHEST_GRADE = 1000  # more is a slip, and gains are as large as grades


@dataclass(frozen=True, slots=True)
class Question:
    """One line: what is looked for, what may answer it, and how well each does, if known."""

    line: int
    """Its number in the file, from 1."""
    query: str
    docs: tuple[str, ...]
    grades: tuple[int, ...] | None = None
    """One for each document, 0: not relevant; None: the line says nothing of that."""

    @property
    def has_relevant(self) -> bool:
        """Whether a ranking of its documents can be good or bad."""
        return self.grades is not None and any(self.grades)


@dataclass(frozen=True, slots=True)
class QuestionFile:
    """A file all of whose lines are right."""

    name: str
    sha256: str
    """Of its bytes as they lie there."""
    questions: tuple[Question, ...]


class LineError(ValueError):
    """What is wrong with a line."""


def load(path: Path) -> QuestionFile:
    """Read a whole file; `-` is standard input, and one that ends in .gz is unpacked.

    Raises:
        UsageError: a line is wrong; the message has the first twenty by number.
        OSError: it cannot be read.
    """
    content = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    name = "standard input" if path == STDIN else str(path)
    digest = hashlib.sha256(content).hexdigest()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UsageError(f"{name}: not a whole gzip file: {error}") from error
    questions, wrong = read(content.split(b"\n"))
    if wrong:
        raise UsageError(_complaint(name, len(questions) + len(wrong), wrong))
    if not questions:
        raise UsageError(f"{name}: no question in it; a line is {_example()}")
    return QuestionFile(name, digest, tuple(questions))


def read(lines: Iterable[bytes]) -> tuple[list[Question], Mapping[int, str]]:
    """Return the right lines as questions, and what is wrong with each other one by its number.

    Empty lines are skipped.
    """
    questions, wrong = [], {}
    for number, line in enumerate(lines, start=1):
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not text.strip():
            continue
        try:
            questions.append(question(number, text))
        except LineError as error:
            wrong[number] = str(error)
    return questions, wrong


def question(number: int, line: bytes) -> Question:
    """Read one line.

    Raises:
        LineError: it is not a question.
    """
    found = _object(line)
    for key in found:
        near = nearest(key.lower(), _KEYS)
        if key not in _KEYS and near is not None and near not in found:
            raise LineError(f"unknown key {key!r}; did you mean {near!r}?")
        if key.lower() in _OTHERS_LABELS and "relevant" not in found and "grades" not in found:
            raise LineError(f"unknown key {key!r}: labels are in relevant or grades")
    query = _text(found.get("query"), "query")
    docs = found.get("docs")
    if not isinstance(docs, list) or not docs:
        raise LineError(f"docs is {_kind(docs)}; a list of one or more texts is needed")
    texts = tuple(_text(doc, f"docs[{index}]") for index, doc in enumerate(docs))
    return Question(number, query, texts, _labels(found, len(texts)))


def _object(line: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(line.decode(), object_pairs_hook=_without_repeats)
    except UnicodeDecodeError as error:
        raise LineError(f"not UTF-8 (byte {error.start + 1} of the line)") from error
    except json.JSONDecodeError as error:
        raise LineError(f"not JSON: {error.msg} (column {error.colno})") from error
    except LineError:
        raise
    except (RecursionError, ValueError) as error:
        raise LineError(f"not JSON that can be read: {error}") from error
    if not isinstance(found, dict):
        raise LineError(f"{_kind(found)}; an object is needed: {_example()}")
    return found


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise LineError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise LineError(f"{name} is {_kind(value)}; a text is needed")
    if name == "query" and not value:
        raise LineError("query is empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise LineError(f"{name} has half of a surrogate pair, which is no character") from error
    return value


def _labels(found: Mapping[str, object], docs: int) -> tuple[int, ...] | None:
    relevant, grades = found.get("relevant"), found.get("grades")
    if relevant is not None and grades is not None:
        raise LineError("both relevant and grades; one is needed")
    match relevant if grades is None else grades:
        case None:
            return None
        case dict() as by_index:
            return _by_index(by_index, docs)
        case list() as items if grades is not None or _is_flag_list(items):
            if len(items) != docs:
                raise LineError(f"{len(items)} labels for {docs} documents; one each is needed")
            flags = [int(item) if isinstance(item, bool) else item for item in items]
            return tuple(_grade(_whole(item, "a label")) for item in flags)
        case list() as items:
            return _by_list([_whole(item, "relevant") for item in items], docs)
        case other:
            name = "relevant" if grades is None else "grades"
            raise LineError(f"{name} is {_kind(other)}; a list is needed")


def _is_flag_list(items: list[object]) -> bool:
    return bool(items) and all(isinstance(item, bool) for item in items)


def _by_list(items: list[int], docs: int) -> tuple[int, ...]:
    """Read indices; but as many numbers as documents, and some alike, can only be grades."""
    is_one_each, are_alike = len(items) == docs, len(set(items)) < len(items)
    if is_one_each and are_alike:
        return tuple(_grade(item) for item in items)
    if is_one_each:
        raise LineError(_could_be_either(docs))
    if are_alike:
        twice = next(item for item in items if items.count(item) > 1)
        raise LineError(f"relevant names document {twice} twice")
    _check_indices(items, docs)
    return tuple(int(index in items) for index in range(docs))


def _could_be_either(docs: int) -> str:
    if docs == 1:
        return (
            "relevant has 1 number for 1 document: its index, or its grade? "
            'write {"0": 1} or [true] for the index, "grades" for the grade'
        )
    return (
        f"relevant has {docs} numbers for {docs} documents: indices of all of them, or grades? "
        'write {"0": 1, ...} or [true, ...] for indices, "grades" for grades'
    )


def _by_index(grades: Mapping[str, object], docs: int) -> tuple[int, ...]:
    for key in grades:
        if re.fullmatch("0|[1-9][0-9]{0,8}", key) is None:
            raise LineError(f"relevant has the key {key!r}, which is no document index")
    found = {int(key): _grade(_whole(grade, f"relevant[{key!r}]")) for key, grade in grades.items()}
    _check_indices(found, docs)
    return tuple(found.get(index, 0) for index in range(docs))


def _check_indices(indices: Iterable[int], docs: int) -> None:
    beyond = next((index for index in indices if index >= docs), None)
    if beyond is not None:
        raise LineError(
            f"relevant names document {beyond}, and the last of the {docs} is {docs - 1}"
        )


def _grade(value: int) -> int:
    if value > _HIGHEST_GRADE:
        raise LineError(f"the grade {value}; {_HIGHEST_GRADE} is the highest")
    return value


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        shown = json.dumps(value)[:40] if is_number else _kind(value)
        raise LineError(f"{name} has {shown}; whole numbers from 0 are needed")
    return value


def _kind(value: object) -> str:
    match value:
        case None:
            return "missing"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list" if value else "an empty list"
    return "an object"


def _example() -> str:
    return '{"query": "...", "docs": ["...", "..."], "relevant": [1]}'


def _complaint(name: str, total: int, wrong: Mapping[int, str]) -> str:
    shown = [f"  line {line}: {what}" for line, what in list(wrong.items())[:_MOST_SHOWN]]
    if len(wrong) > _MOST_SHOWN:
        shown.append(f"  and {len(wrong) - _MOST_SHOWN} more")
    head = f"{name}: {len(wrong)} of {total} lines are wrong; nothing was sent"
    return "\n".join([head, *shown])
