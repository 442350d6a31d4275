"""What of the end of a dead process's output tells why it died."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_WINDOW = 24
"""Lines looked at: what an error said longer ago did not end the process."""
_SHOWN = 8
_FATAL = "Fatal Python error"
"""Begins the stacks that faulthandler writes as a process crashes: the innermost calls first."""
_OWN = re.compile(
    r"""\d{4}-\d\d-\d\d[ T][\d:.,+-]+\ (\w+)\ | \{"time":\ "[^"]+",\ "level":\ "(\w+)" """,
    re.VERBOSE,
)
"""A line of this project's logs, and its level: of a worker, of the gateway, as JSON."""
_WRONG = re.compile(
    r"(error|exception)\b|traceback|most recent call first|stack smashing|bad_alloc|"
    r"\b(critical|fatal|panic|abort(ed)?|assert(ion)?|corruption|segmentation fault|"
    r"out of memory|cannot|could not|failed|terminate called)\b",
    re.IGNORECASE,
)


def last_words(text: str, *, had_time: bool) -> str:
    """Return the last lines that look like errors, joined by " | ", most often of a traceback.

    What a process logged while all was well explains nothing. One that `had_time`, that was not
    ended by SIGKILL, may have said why in any words.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    fatal = [n for n, line in enumerate(lines) if line.startswith(_FATAL)]
    if fatal:
        return _joined(lines[fatal[-1] : fatal[-1] + _SHOWN])
    blocks = [block for block in _blocks(lines[-_WINDOW:]) if not _is_news(block[0])]
    wrong = [block for block in blocks if any(map(_WRONG.search, block)) or _is_own(block[0])]
    if not wrong and had_time:
        wrong = blocks
    return _joined([line for block in wrong for line in block][-_SHOWN:])


def _blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    """Yield lines that belong together: indented ones, and the one that ends a traceback."""
    block: list[str] = []
    for line in lines:
        is_indented = line[0].isspace()
        is_end = bool(block) and block[-1][0].isspace() and not _is_own(line)
        if block and not is_indented and not is_end:
            yield block
            block = []
        block.append(line)
    if block:
        yield block


def _is_own(line: str) -> bool:
    return _OWN.match(line) is not None


def _is_news(line: str) -> bool:
    """Tell whether a line is of our logs and below an error."""
    found = _OWN.match(line)
    if found is None:
        return False
    return (found[1] or found[2]).lower() not in ("error", "critical")


def _joined(lines: Sequence[str]) -> str:
    return " | ".join(line.strip() for line in lines)
