"""Cuts a long text into windows: where it may be cut, and which pieces go together. Pure.

A text is cut behind its sentences (Chinese and English both); a sentence too long for a window is
cut at a blank, else anywhere. Pieces joined are the text again, so windows are named by where they
begin and end in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from rerank_workers.preprocess import sentences


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text, in characters; `end` is behind the last one."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """Return the part of the text, without blanks at its ends."""
        return text[self.start : self.end].strip()

    def halves(self, text: str) -> tuple[Span, ...]:
        """Cut in two near the middle, at a blank where there is one; one character stays whole."""
        if self.end - self.start < 2:
            return (self,)
        middle = (self.start + self.end) // 2
        blank = text.rfind(" ", (self.start + middle) // 2 + 1, middle)
        cut = middle if blank < 0 else blank + 1
        return (Span(self.start, cut), Span(cut, self.end))


def pieces(text: str, longest: int) -> list[Span]:
    """Cut a text behind its sentences, and longer sentences into at most `longest` characters."""
    found: list[Span] = []
    start = 0
    for end in accumulate(len(sentence) for sentence in sentences(text)):
        while end - start > longest:
            blank = text.rfind(" ", start + longest // 2, start + longest)
            cut = start + longest if blank < 0 else blank + 1
            found.append(Span(start, cut))
            start = cut
        found.append(Span(start, end))
        start = end
    return found


def windows(tokens: Sequence[int], room: int, overlap: int) -> list[range]:
    """Group neighbouring pieces into windows of at most `room` tokens, as full as can be.

    A window begins with the last pieces of the one before, as many whole ones as have at most
    `overlap` tokens together. Every piece lies in a window, each window ends behind the one
    before, and a piece of more than `room` tokens is a window of its own.
    """
    found: list[range] = []
    start = end = 0
    while end < len(tokens):
        total = sum(tokens[start:end])
        while end < len(tokens) and (end == start or total + tokens[end] <= room):
            total += tokens[end]
            end += 1
        found.append(range(start, end))
        if end < len(tokens):
            spare = min(overlap, room - tokens[end])
            start = end
            while start > found[-1].start + 1 and tokens[start - 1] <= spare:
                start -= 1
                spare -= tokens[start]
    return found
