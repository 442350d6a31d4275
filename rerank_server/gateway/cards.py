"""The pages other servers' clients look at before they score: /info, /v1/models, the handshake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import orjson
from starlette.types import Receive, Scope, Send

from rerank_server import __version__
from rerank_server.core.routing import RoutesTable, VersionRoute, choose, is_served
from rerank_server.errors import NotFoundError, UnavailableError
from rerank_server.gateway.answers import Headers, send_json
from rerank_server.gateway.dialect import Fallback
from rerank_server.gateway.exchange import exchange_of
from rerank_server.gateway.paths import Page
from rerank_server.gateway.places import model_of
from rerank_server.gateway.scoring import headers
from rerank_server.gateway.state import Section, StateFile, number, section, text, versions
from rerank_server.gateway.table import Place, View

_DTYPES = {"float16": "float16", "bfloat16": "bfloat16", "fp16": "float16", "bf16": "bfloat16"}
_LABEL = "LABEL_0"  # the one label of a reranker: how relevant


class Cards:
    """Describes versions in the words of other servers, by the routes table and state.json."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    async def serve(
        self, view: View, place: Place, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve one page.

        Raises:
            NotFoundError: no such page.
            UnavailableError: there is no version to describe.
        """
        exchange = exchange_of(scope)
        more: Headers = []
        match place.page:
            case Page.AUTH:
                body: Mapping[str, object] = {"auth": bool(view.table.access.keys)}
            case Page.INFO:
                header = exchange.header(b"x-rerank-version")
                body, more = self._info(view.whole, place.version, header)
            case Page.MODELS:
                body, more = self._models(view.table, place.version, model_of(scope["path"]))
            case _:
                raise NotFoundError
        await send_json(send, orjson.dumps(body), more)

    def _info(
        self, table: RoutesTable, path_version: str | None, header: str | None
    ) -> tuple[Mapping[str, object], Headers]:
        """Describe a version as text-embeddings-inference does."""
        route, more = _route(table, path_version, header)
        state = self._of(route)
        settings, facts = section(state.get("settings")), section(state.get("info"))
        limits = table.limits
        described = {
            "model_id": text(state, "source") or route.name,
            "model_sha": text(state, "digest") or None,
            "model_dtype": _dtype(facts),
            "served_model_name": route.name,
            "model_type": {"reranker": {"id2label": {"0": _LABEL}, "label2id": {_LABEL: 0}}},
            "max_concurrent_requests": min(
                limits.max_concurrent_requests, route.limits.max_concurrent_requests
            ),
            "max_input_length": int(number(settings, "max_length")),
            "max_batch_tokens": int(number(settings, "max_batch_tokens")),
            "max_batch_requests": int(number(settings, "batch_size")) or None,
            "max_client_batch_size": min(limits.max_docs, route.limits.max_docs),
            "auto_truncate": True,
            "tokenization_workers": 1,
            "version": __version__,
            "sha": None,
            "docker_label": None,
        }
        return described | _stages(route), more

    def _models(
        self, table: RoutesTable, path_version: str | None, name: str | None
    ) -> tuple[Mapping[str, object], Headers]:
        """List the versions, or describe one: by its name, or the default for any other name."""
        if name is not None:
            route, more = _route(table, path_version, None, name)
            return self._card(table, route), more
        routes = [
            route
            for route in table.versions.values()
            if path_version == route.name or (path_version is None and route.enabled)
        ]
        return {"object": "list", "data": [self._card(table, route) for route in routes]}, []

    def _card(self, table: RoutesTable, route: VersionRoute) -> Mapping[str, object]:
        """Describe a version as OpenAI's model list and Xinference do."""
        state = self._of(route)
        return {
            "id": route.name,
            "object": "model",
            "created": int(number(section(self._state.current().get("server")), "started_at")),
            "owned_by": "rerank-server",
            "model_type": "rerank",
            "model_name": text(state, "source") or route.name,
            "model_description": route.description,
            "digest": text(state, "digest") or None,
            "max_model_len": int(number(section(state.get("settings")), "max_length")) or None,
            "is_ready": is_served(table, route.name),
        } | _stages(route)

    def _of(self, route: VersionRoute) -> Section:
        """Return what is known of a version; of a cascade, of its last stage, and what all take."""
        known = {text(version, "name"): version for version in versions(self._state.current())}
        state = known.get(route.name, {})
        stages = [known.get(stage.version, {}) for stage in route.cascade]
        if not stages:
            return state
        lengths = [number(section(stage.get("settings")), "max_length") for stage in stages]
        settings = {**section(stages[-1].get("settings")), "max_length": min(lengths)}
        return {**stages[-1], **state, "settings": settings, "info": stages[-1].get("info")}


def _route(
    table: RoutesTable, path_version: str | None, header: str | None, model: str | None = None
) -> tuple[VersionRoute, Headers]:
    """Return the version that is meant, as for a score request, and what is said about it."""
    choice = choose(table, path_version=path_version, header=header, model=model)
    route = table.versions.get(choice.version)
    if route is None:
        raise UnavailableError("no version is configured")
    fallback = None if choice.reason is None else Fallback(choice.asked, choice.reason)
    return route, headers(route.name, fallback)


def _stages(route: VersionRoute) -> dict[str, object]:
    """Return the key that only a cascade has."""
    if not route.cascade:
        return {}
    return {"cascade": [asdict(stage) for stage in route.cascade]}


def _dtype(facts: Section) -> str:
    return _DTYPES.get(text(facts, "dtype"), "float32")
