"""What the supervisor last said of the fleet in state.json."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import orjson

from rerank_server.gateway.watched import WatchedFile

log = logging.getLogger(__name__)

Section = Mapping[str, object]


class StateFile:
    """The object in state.json; the last good one stays while the file is missing or broken."""

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path)
        self._state: Section = {}

    def current(self) -> Section:
        """Return the newest state that could be read, empty before the first one."""
        content = self._file.poll()
        if content is not None:
            try:
                parsed = orjson.loads(content)
            except orjson.JSONDecodeError as error:
                log.error("state file is broken; the last one stays", extra={"error": error.msg})
            else:
                self._state = section(parsed)
        return self._state


def versions(state: Section) -> list[Section]:
    """Return the versions' entries, in config order."""
    return [section(entry) for entry in items(state.get("versions"))]


def section(value: object) -> Section:
    """Return a JSON object, empty if the value is none."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """Return a JSON list, empty if the value is none."""
    return value if isinstance(value, list) else []


def number(holder: Section, key: str) -> float:
    """Return a number, 0 if there is none."""
    value = holder.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def text(holder: Section, key: str) -> str:
    """Return a string, empty if there is none."""
    value = holder.get(key)
    return value if isinstance(value, str) else ""
