"""The routes table as this process knows it, and the paths it serves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import orjson

from rerank_server.core.limits import Limits, share, version_share
from rerank_server.core.routing import RoutesTable, from_json
from rerank_server.gateway.paths import PAGES, Page
from rerank_server.gateway.watched import WatchedFile

log = logging.getLogger(__name__)

_DEFAULTS = Limits()


@dataclass(frozen=True, slots=True)
class Place:
    """What a path stands for."""

    version: str | None
    """The version it names; None: header, body or the default choose."""
    page: Page


@dataclass(frozen=True, slots=True)
class View:
    """One routes table and what is looked up in it for every request."""

    table: RoutesTable
    """As this process has it: of limits on what is in flight, its own share."""
    paths: Mapping[str, Place]
    whole: RoutesTable
    """As it was published, with the limits of all gateway processes together."""


class Routes(Protocol):
    """Where requests find the current table."""

    def current(self) -> View | None:
        """Return the newest table, or None before the first one. Called once per request."""


def view_of(table: RoutesTable, processes: int = 1) -> View:
    """Return the table with its paths, for one of so many gateway processes."""
    paths = {path: Place(None, page) for path, page in PAGES.items()}
    endpoints = {r.endpoint.rstrip("/"): r.name for r in table.versions.values()}
    for endpoint, name in endpoints.items():
        paths |= {endpoint + path: Place(name, page) for path, page in PAGES.items()}
    # Last, so that the endpoint one version is given never is another's page.
    paths |= {endpoint: Place(name, Page.SCORE) for endpoint, name in endpoints.items()}
    return View(_share(table, processes), paths, table)


def _share(table: RoutesTable, processes: int) -> RoutesTable:
    if processes == 1:
        return table
    routes = {
        name: replace(route, limits=version_share(route.limits, processes))
        for name, route in table.versions.items()
    }
    return replace(table, limits=share(table.limits, processes), versions=routes)


def limits_in(routes: Routes) -> Limits:
    """Return the limits in force; before the first table, the defaults."""
    view = routes.current()
    return _DEFAULTS if view is None else view.table.limits


class RoutesFile:
    """The table in routes.json; the last good one stays while the file is missing or broken."""

    def __init__(self, path: Path, processes: int = 1) -> None:
        self._file = WatchedFile(path)
        self._processes = processes
        self._view: View | None = None

    def current(self) -> View | None:
        """Return the newest table that could be read, or None before the first one."""
        content = self._file.poll()
        if content is not None:
            try:
                self._view = view_of(from_json(orjson.loads(content)), self._processes)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                log.error(
                    "routes file is broken; the last table stays", extra={"error": str(error)}
                )
        return self._view
