"""The routes table as this process knows it, and the paths it serves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

from rerank_server.core.limits import Limits
from rerank_server.core.routing import RoutesTable, from_json
from rerank_server.gateway.watched import WatchedFile

log = logging.getLogger(__name__)

_DEFAULTS = Limits()
SCORE_PATH = "/rerank"
"""The path without a version: header, body or the default choose."""


@dataclass(frozen=True, slots=True)
class View:
    """One routes table and what is looked up in it for every request."""

    table: RoutesTable
    paths: Mapping[str, str | None]
    """Version by path; None for the paths that name none."""


class Routes(Protocol):
    """Where requests find the current table."""

    def current(self) -> View | None:
        """Return the newest table, or None before the first one. Called once per request."""


def view_of(table: RoutesTable) -> View:
    """Return the table with its paths."""
    paths: dict[str, str | None] = {SCORE_PATH: None}
    for route in table.versions.values():
        paths[route.endpoint.rstrip("/")] = route.name
    return View(table, paths)


def limits_in(routes: Routes) -> Limits:
    """Return the limits in force; before the first table, the defaults."""
    view = routes.current()
    return _DEFAULTS if view is None else view.table.limits


class RoutesFile:
    """The table in routes.json; the last good one stays while the file is missing or broken."""

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path)
        self._view: View | None = None

    def current(self) -> View | None:
        """Return the newest table that could be read, or None before the first one."""
        content = self._file.poll()
        if content is not None:
            try:
                self._view = view_of(from_json(orjson.loads(content)))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                log.error(
                    "routes file is broken; the last table stays", extra={"error": str(error)}
                )
        return self._view
