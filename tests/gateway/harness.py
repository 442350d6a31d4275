"""The gateway's application under test, asked in process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

import httpx
import orjson
from starlette.applications import Starlette

from rerank_server.core.routing import RoutesTable
from rerank_server.gateway.app import Parts, build
from rerank_server.gateway.evidence import Evidence
from rerank_server.gateway.ledger import LossLedger
from rerank_server.gateway.metrics import Metrics
from rerank_server.gateway.state import StateFile
from rerank_server.gateway.upstream import Upstream
from rerank_server.gateway.walk import Walker
from tests.gateway.fakes import FakeUpstream, FixedRoutes, route, table

Scenario = Coroutine[None, None, None]
Run = Callable[[Scenario], None]
"""Runs a scenario to its end on one kind of event loop."""

JSON = {"content-type": "application/json"}


class Gateway:
    """An application over fakes, in a directory of its own."""

    def __init__(self, directory: Path, generation: int = 1, *, log_access: bool = False) -> None:
        self.directory = directory
        self.routes = FixedRoutes()
        self.workers = FakeUpstream()
        self.metrics = Metrics(directory / "metrics")
        self.ledger = LossLedger(directory)
        self.evidence = Evidence(directory, self.routes)
        self._generation = generation
        self._log_access = log_access
        self.app = self._build(self.workers)
        self.show(table(route("v1", "v1.1")))

    def use(self, upstream: Upstream) -> None:
        """Put another upstream in place of the fake one."""
        self.app = self._build(upstream)

    def show(self, routes_table: RoutesTable) -> None:
        """Publish a routes table."""
        self.routes.show(routes_table)

    def post(
        self,
        path: str = "/rerank",
        body: object = None,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] = JSON,
    ) -> httpx.Response:
        """Post a JSON body, or raw content, and return the answer."""
        sent = orjson.dumps(body) if content is None else content
        return self.ask("POST", path, content=sent, headers=headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Get a page."""
        return self.ask("GET", path, headers=headers)

    def ask(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send one request and return the answer."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                raw = [(n.encode(), v.encode("latin-1")) for n, v in (headers or {}).items()]
                return await client.request(method, path, content=content, headers=raw)

        return asyncio.run(ask())

    def close(self) -> None:
        """Let go of its files."""
        self.metrics.close()

    def _build(self, upstream: Upstream) -> Starlette:
        return build(
            Parts(
                routes=self.routes,
                state=StateFile(self.directory / "state.json"),
                metrics=self.metrics,
                walker=Walker(upstream, self.ledger),
                generation=self._generation,
                evidence=self.evidence,
                log_access=self._log_access,
            )
        )


def series(text: str) -> dict[str, float]:
    """Read Prometheus' text format: value by series, labels included."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
