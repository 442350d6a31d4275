"""Serves the OpenAPI description, and the page that shows it and needs no network."""

from __future__ import annotations

from importlib import resources

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rerank_server.core.routing import RoutesTable
from rerank_server.gateway.openapi.document import Api, Version, of_server, of_version
from rerank_server.gateway.paths import Page
from rerank_server.gateway.table import Place, View

_HTML_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; connect-src 'self'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}


class Reference:
    """The pages /openapi.json and /docs, of the server and behind each version's endpoint."""

    def __init__(self) -> None:
        self._page: bytes | None = None
        self._table: RoutesTable | None = None
        self._documents: dict[str | None, bytes] = {}

    async def serve(
        self, view: View, place: Place, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve one of the pages."""
        if place.page is Page.DOCS:
            response = Response(self._html(), headers=_HTML_HEADERS)
        else:
            document = self._document(view.table, place.version)
            response = Response(document, headers={"content-type": "application/json"})
        await response(scope, receive, send)

    def _html(self) -> bytes:
        if self._page is None:
            self._page = resources.files("rerank_server.gateway").joinpath("docs.html").read_bytes()
        return self._page

    def _document(self, table: RoutesTable, version: str | None) -> bytes:
        if table is not self._table:
            self._table, self._documents = table, {}
        found = self._documents.get(version)
        if found is None:
            api = api_of(table)
            named = [each for each in _all(table) if each.name == version]
            described = of_version(api, named[0]) if named else of_server(api)
            found = self._documents[version] = orjson.dumps(described)
        return found


def api_of(table: RoutesTable) -> Api:
    """Return what a gateway with this table serves."""
    enabled = {route.name for route in table.versions.values() if route.enabled}
    return Api(
        versions=[each for each in _all(table) if each.name in enabled],
        default=table.default,
        url="/",
        max_docs=table.limits.max_docs,
        max_chars=table.limits.max_doc_chars,
        has_keys=bool(table.access.keys),
        protected=table.access.protect,
    )


def _all(table: RoutesTable) -> list[Version]:
    return [
        Version(route.name, route.endpoint.rstrip("/"), route.description, route.cascade)
        for route in table.versions.values()
    ]
