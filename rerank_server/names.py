"""What versions, devices and endpoints may be called, and which known name a wrong one is like."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

VERSION_NAME = r"^v[0-9]+(\.[0-9]+)?(-[a-z0-9]+([._-][a-z0-9]+)*)?$"
VERSION_NAME_LENGTH = 63
"""Most characters of a version name: it becomes a directory, a label, part of a socket's path."""

DEVICE = r"^(auto|cpu|cuda(:[0-9]{1,3})?)$"

NONE = "none"
"""The word that switches a fallback off; no version can have this name."""

ORIGIN = r"^(\*|https?://[A-Za-z0-9.\[\]:_-]+)$"
"""A page's origin as browsers send it: no path, no slash at the end."""

ENDPOINT = r"^(/[A-Za-z0-9._~-]+)+$"
ENDPOINT_LENGTH = 128

OWN_PATHS = frozenset(
    {
        "health",
        "ready",
        "versions",
        "metrics",
        "docs",
        "openapi.json",
        "score",
        "info",
        "rerank",
        "reranking",
        "v1",
        "v2",
    }
)
"""First path segments the server answers itself, plain and below each version's endpoint."""


def is_version_name(name: str) -> bool:
    """Tell whether `name` follows the rule for version names and their directories."""
    return len(name) <= VERSION_NAME_LENGTH and re.fullmatch(VERSION_NAME, name) is not None


def is_endpoint(path: str) -> bool:
    """Tell whether `path` is an absolute path of plain segments: no query, no trailing slash."""
    return (
        len(path) <= ENDPOINT_LENGTH
        and re.fullmatch(ENDPOINT, path) is not None
        and not {".", ".."}.intersection(path.split("/"))
    )


def default_endpoint(name: str) -> str:
    """Return the path a version answers under when its `endpoint` is not configured."""
    return f"/rerank/{name}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `name`, or None when none is near."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), None)
