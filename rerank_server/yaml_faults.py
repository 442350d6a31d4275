"""What a YAML parser complained about, as one line that says what to change."""

from __future__ import annotations

import yaml

_FAULTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("tab character",),
        "a tab indents this line; use spaces only",
    ),
    (
        ("mapping values are not allowed",),
        "a ':' where no key can stand; check the indentation and the line above, "
        "and quote a text that holds ': '",
    ),
    (
        ("end of stream", "unexpected document"),
        "the quote opened here is never closed",
    ),
    (
        ("',' or ']'",),
        "the '[' opened here is never closed; write ']'",
    ),
    (
        ("',' or '}'",),
        "the '{' opened here is never closed; write '}'",
    ),
    (
        ("block end", "expected key", "'-' indicator", "entries are not allowed"),
        "this line does not fit the lines above; check its indentation and quotes",
    ),
    (
        ("expected ':'",),
        "a key without ':'; write 'key: value'",
    ),
    (
        ("escape", "hexadecimal", "hexdecimal"),
        "an unknown escape after '\\' in double quotes; write '\\\\', or use single quotes",
    ),
    (
        ("tag handle",),
        "tags (!...) are not taken here; remove it",
    ),
)
"""Parts of libyaml's and PyYAML's messages, which differ, and what both mean."""

_UNKNOWN = "not valid YAML here; check quotes, colons and indentation"
_OPENED = ("end of stream", "unexpected document", "',' or ", "expected ':'")
"""Faults told best at the line where something was opened."""


def describe(error: Exception, text: str) -> tuple[int, str]:
    """Return the line and the sentence for what the parser raised while reading `text`."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem is None:
        return 1, _UNKNOWN
    problem = error.problem
    mark = error.problem_mark
    if error.context_mark is not None and any(part in problem for part in _OPENED):
        mark = error.context_mark
    if mark is None:
        return 1, _UNKNOWN
    line = int(mark.line)
    if "cannot start any token" in problem:
        return line + 1, _bad_start(text.splitlines()[line], int(mark.column))
    sentence = next(
        (said for parts, said in _FAULTS if any(part in problem for part in parts)), _UNKNOWN
    )
    return line + 1, sentence


def _bad_start(line: str, column: int) -> str:
    character = line[column : column + 1]
    if character == "\t":
        what = "stands in" if line[:column].strip() else "indents"
        return f"a tab {what} this line; use spaces only"
    return f"a value cannot start with {character!r}; put it in quotes"
