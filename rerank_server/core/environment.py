"""What lies in a version's directory about its own environment: a stamp, or why there is none.

The catalogue, which installs, writes these files; the supervisor, which never does, reads them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

STAMP = "rerank-server.stamp"
"""File in an environment that says what it was built from; its change restarts the version."""

FAILURE = ".venv-failed.json"
"""File in a version's directory that says why its environment could not be built."""

_DIGEST = "requirements_sha256"


def stamp(requirements: bytes, facts: Mapping[str, object]) -> str:
    """Return the text of the stamp: these requirements, and what else it was built from."""
    return json.dumps({_DIGEST: _digest(requirements), **facts}, indent=2)


def fits(text: str, requirements: bytes) -> bool:
    """Tell whether an environment with this stamp was built from these requirements."""
    return _fields(text).get(_DIGEST) == _digest(requirements)


def failure(reason: str, requirements: bytes) -> str:
    """Return the text that says why these requirements could not be installed."""
    return json.dumps({_DIGEST: _digest(requirements), "reason": reason}, ensure_ascii=False)


def reason(text: str, requirements: bytes) -> str | None:
    """Return why these requirements could not be installed; None if others were tried."""
    return _fields(text).get("reason") if fits(text, requirements) else None


def _digest(requirements: bytes) -> str:
    return hashlib.sha256(requirements).hexdigest()


def _fields(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}
