"""The pages for people and machines that watch: /health, /ready, /versions, /metrics."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rerank_server.core.routing import RoutesTable, VersionRoute, answers, is_served
from rerank_server.errors import NotFoundError, UnavailableError
from rerank_server.gateway.exchange import exchange_of
from rerank_server.gateway.exposition import Everything
from rerank_server.gateway.metrics import Metrics
from rerank_server.gateway.state import StateFile, items, number, section, versions
from rerank_server.names import nearest

_SHOWN = (
    "name",
    "enabled",
    "default",
    "state",
    "reason",
    "endpoint",
    "description",
    "source",
    "device",
    "degraded",
    "model",
    "info",
    "fingerprint",
    "digest",
    "load_s",
    "settings",
    "restarts",
    "totals",
    "queue",
    "duration",
)
"""Of a version's entry in state.json; pids, paths and the like are for `status` only."""


class Views:
    """The pages, over what the supervisor published and what the gateway counts."""

    def __init__(self, state: StateFile, metrics: Metrics) -> None:
        self._state = state
        self._metrics = metrics

    def routes(self) -> list[BaseRoute]:
        """Return the pages' routes; each answers GET and HEAD."""
        pages = {
            "/health": self.health,
            "/ready": self.ready,
            "/versions": self.versions,
            "/metrics": self.metrics,
        }
        return [Route(path, page, methods=["GET"]) for path, page in pages.items()]

    async def health(self, request: Request) -> Response:
        """Tell that this process answers."""
        return _json({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Tell whether a request to /rerank, or strictly to `?version=`, would be answered.

        Raises:
            NotFoundError: no version of that name.
            UnavailableError: it would not.
        """
        view = exchange_of(request.scope).view
        version = request.query_params.get("version")
        if view is None:
            raise UnavailableError("the server is starting; no version is known yet")
        table = view.table
        if version is not None and version not in table.versions:
            near = nearest(version, list(table.versions))
            hint = f"; the nearest is {near}" if near else ""
            raise NotFoundError(f"no version of this name{hint}", field="version")
        if not answers(table, version, strict=version is not None):
            raise UnavailableError(f"version {version or table.default} does not answer now")
        return _json({"status": "ready", "version": version or table.default})

    async def versions(self, request: Request) -> Response:
        """Describe every configured version, and those that a cascade still answers by."""
        view = exchange_of(request.scope).view
        state = self._state.current()
        shown = [_describe(version) for version in versions(state)]
        if not shown and view is not None:
            shown = [_outline(view.table, route) for route in view.table.versions.values()]
        default = view.table.default if view is not None else state.get("default")
        generation = view.table.generation if view is not None else state.get("generation")
        return _json({"default": default, "generation": generation, "versions": shown})

    async def metrics(self, request: Request) -> Response:
        """Give all metrics in Prometheus' text format."""
        view = exchange_of(request.scope).view
        table = view.table if view is not None else None
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Everything(self._state.current(), self._metrics, table))
        text = generate_latest(registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})


def _describe(version: Mapping[str, object]) -> dict[str, object]:
    instances = [section(instance) for instance in items(version.get("instances"))]
    described = {key: version.get(key) for key in _SHOWN}
    if "cascade" in version:
        described["cascade"] = version["cascade"]
    for key in ("memory_bytes", "gpu_memory_bytes"):
        described[key] = int(sum(number(instance, key) for instance in instances))
    described["uptime_s"] = max(
        (number(i, "uptime_s") for i in instances if i.get("state") == "RUNNING"), default=None
    )
    return described


def _outline(table: RoutesTable, route: VersionRoute) -> dict[str, object]:
    """Describe a version by the routes table alone, while there is no state file."""
    return {
        "name": route.name,
        "enabled": route.enabled,
        "default": route.name == table.default,
        "state": (
            "RUNNING" if is_served(table, route.name) else (route.absent or "disabled").upper()
        ),
        "endpoint": route.endpoint,
        "description": route.description,
        "degraded": route.degraded,
    }


def _json(content: Mapping[str, object]) -> Response:
    return Response(orjson.dumps(content), headers={"content-type": "application/json"})
