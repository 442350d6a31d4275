"""Text cleaning and sentence splitting shared by all versions; both off unless asked for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_BLANKS = re.compile(r"\s+")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff]")

# A sentence ends after a mark, with whatever closes a quotation or bracket behind it. The Chinese
# marks end it anywhere; the Latin ones only before a blank or the end of the text. Full width
# forms stand as escapes: they look like their ASCII twins. Possessive, and anchored at the start
# of a run, so that a page of dots takes linear time.
_WIDE_MARKS = "\u3002\uff01\uff1f\uff1b\u2026\uff61"
_CLOSERS = "\"'\u201d\u2019\u300d\u300f\uff09\u3011\u300b\u3009\u3015)\\]}"
_END = re.compile(
    rf"[{_WIDE_MARKS}]++[{_CLOSERS}]*+\s*+"
    rf"|(?<![.!?])[.!?]++[{_CLOSERS}]*+(?:\s++|\Z)"
    r"|\n\s*+"
)

# A full stop after one of these does not end a sentence.
_ABBREVIATION = re.compile(
    r"(?:mr|mrs|ms|dr|prof|sr|jr|st|nos?|vs|e\.g|i\.e|cf|al|figs?|eq|sec|ch|vol|pp|eds?|inc|ltd"
    r"|co|corp|dept|est|approx|art|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)",
    re.IGNORECASE,
)
_INITIAL = re.compile(r"(?:[A-Z]\.)*[A-HJ-Z]")
_LAST_WORD = re.compile(r"([^\W\d_](?:[\w.]*\w)?)\.$")


def clean(text: str) -> str:
    """Return the text in NFC without control characters, each run of blanks as one.

    A run that holds a line break becomes a line break, any other a space; ends are stripped.
    Cleaning twice changes nothing more.
    """
    # Controls first: removing one can bring the two halves of a composed character together.
    text = unicodedata.normalize("NFC", _CONTROLS.sub("", text))
    return _BLANKS.sub(_one_blank, text).strip()


def sentences(text: str) -> list[str]:
    """Split Chinese and English text after each sentence; joined they are the text again."""
    parts = []
    start = 0
    for end in _ends(text):
        parts.append(text[start:end])
        start = end
    if start < len(text):
        parts.append(text[start:])
    return parts


def _one_blank(run: re.Match[str]) -> str:
    return "\n" if "\n" in run[0] or "\r" in run[0] else " "


def _ends(text: str) -> Iterator[int]:
    for match in _END.finditer(text):
        if match.end() == len(text):
            return
        if match[0][0] == "." and not _is_end(text, match):
            continue
        yield match.end()


def _is_end(text: str, match: re.Match[str]) -> bool:
    """Whether a full stop ends a sentence: not after an abbreviation, not before lower case."""
    if "\n" in match[0]:
        return True
    if text[match.end()].islower():
        return False
    word = _LAST_WORD.search(text, max(0, match.start() - 20), match.start() + 1)
    if word is None:
        return True
    return not (_INITIAL.fullmatch(word[1]) or _ABBREVIATION.fullmatch(word[1]))
