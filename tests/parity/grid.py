"""The texts every family is held to its reference on."""

from __future__ import annotations

QUERIES = (
    "which company developed the first commercial jet airliner?",
    "喷气式客机是什么？",  # noqa: RUF001  full width, as people type it
    "?",
    "what was its name " * 40,
)
DOCUMENTS = (
    "the comet was the first commercial jet airliner",
    "",
    " ",
    "boeing",
    "喷气式客机是什么。喷气",
    "jet \u2708\ufe0f\U0001f6e9 airliner \U0001f1ec\U0001f1e7",
    "comet 喷气 1952, BOEING! Straße naïve Ελλάδα",
    "unknown ☃ łetters ﷽",
    "the comet was the first commercial jet airliner",  # a duplicate
    "line\nbreaks\n\nand tabs\t, two  blanks  ",
    "Yes No yes no 0 1 A: B: query: document: <Document>:",
    "concorde entered service " * 120,
)
PAIRS = tuple((query, document) for query in QUERIES for document in DOCUMENTS)
