"""Tables and lines for terminals, in columns as wide as they look."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_ELLIPSIS = "…"


def width(text: str) -> int:
    """Return how many columns a text takes: two for each wide character, none for a mark."""
    return sum(_columns(character) for character in text)


def cut(text: str, columns: int) -> str:
    """Return the text in one line of at most so many columns; an ellipsis says it goes on."""
    flat = " ".join(text.split())
    if width(flat) <= columns:
        return flat
    room = columns - 1
    kept = ""
    for character in flat:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return kept.rstrip() + _ELLIPSIS


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Return the text filled up with blanks."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def table(rows: Sequence[Sequence[str]], *, gap: str = "  ") -> list[str]:
    """Return rows as lines: the first column to the left, all others to the right."""
    widths = [max(width(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        gap.join(
            pad(cell, widths[index], right=index > 0) for index, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]


def _columns(character: str) -> int:
    if unicodedata.combining(character) or not character.isprintable():
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
