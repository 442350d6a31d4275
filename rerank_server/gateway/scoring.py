"""Serves score requests: the paths of the routes table, and every path that nobody else has."""

from __future__ import annotations

import time
from collections.abc import Mapping

import orjson
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from rerank_server.core.routing import choose, nearest
from rerank_server.errors import NotFoundError, UnavailableError
from rerank_server.gateway.answers import Headers, send_json
from rerank_server.gateway.body import check_media_type, parse_object, receive_body
from rerank_server.gateway.dialect import Dialect, ScoreRequest, ScoreResult, Scores
from rerank_server.gateway.exchange import Exchange, exchange_of
from rerank_server.gateway.metrics import UNKNOWN, Metrics
from rerank_server.gateway.native import NATIVE
from rerank_server.gateway.replies import scores_of
from rerank_server.gateway.table import SCORE_PATH, Routes, View
from rerank_server.gateway.upstream import Errand
from rerank_server.gateway.walk import Journey, Walker

_YES = ("1", "true")


class Scoring:
    """The ASGI endpoint that scores."""

    def __init__(self, walker: Walker, metrics: Metrics, routes: Routes) -> None:
        self._walker = walker
        self._routes = routes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            RerankServerError: what the client is to be told.
            ClientGoneError: nobody is left to be told anything.
        """
        exchange = exchange_of(scope)
        exchange.version = UNKNOWN
        view = exchange.view
        if view is None:
            raise UnavailableError("the server is starting; no version is known yet")
        path_version = _find(view, scope["path"])
        exchange.version = path_version or view.table.default or UNKNOWN
        if scope["method"] != "POST":
            raise HTTPException(405, headers={"Allow": "POST"})
        self._metrics.began()
        try:
            await self._score(view, path_version, exchange, receive, send)
        finally:
            self._metrics.ended()

    async def _score(
        self,
        view: View,
        path_version: str | None,
        exchange: Exchange,
        receive: Receive,
        send: Send,
    ) -> None:
        limits = view.table.limits
        check_media_type(exchange)
        body = parse_object(await receive_body(receive, exchange, limits))
        exchange.dialect = pick(body)
        request = exchange.dialect.parse(body, max_docs=limits.max_docs)
        choice = choose(
            view.table,
            path_version=path_version,
            header=exchange.header(b"x-rerank-version"),
            model=request.model,
        )
        exchange.version = choice.version or UNKNOWN
        is_strict = exchange.header(b"x-rerank-strict") in _YES
        journey = Journey(view.table, choice, is_strict, self._routes)
        result = await self._result(journey, request, exchange)
        exchange.version, exchange.fallback = result.version, result.fallback
        answer = exchange.dialect.render(request, result)
        await send_json(send, answer, _headers(result))

    async def _result(
        self, journey: Journey, request: ScoreRequest, exchange: Exchange
    ) -> ScoreResult:
        if not request.docs:  # nothing to ask a worker for
            candidate = next(journey.candidates(), None)
            if candidate is None:
                raise journey.dead_end(None)
            version, fallback = candidate.version, journey.fallback(candidate.version, None)
            scores = Scores()
        else:
            errand = Errand(
                payload=orjson.dumps({"query": request.query, "docs": request.docs}),
                request_id=exchange.request_id,
                deadline=exchange.started + journey.table.limits.request_timeout_s,
            )
            arrival = await self._walker.walk(journey, errand)
            version, fallback = arrival.version, arrival.fallback
            scores = scores_of(arrival.answer, len(request.docs))
        total_ms = (time.monotonic() - exchange.started) * 1000
        return ScoreResult(version, scores, fallback, total_ms)


def pick(body: Mapping[str, object]) -> Dialect:
    """Return the dialect a body is written in."""
    return NATIVE


def _find(view: View, path: str) -> str | None:
    """Return the version a path names, None if it names none.

    Raises:
        NotFoundError: no such path; tells the nearest version where the path looks like one.
    """
    path = path.rstrip("/")
    if path in view.paths:
        return view.paths[path]
    if not path.startswith(f"{SCORE_PATH}/"):
        raise NotFoundError("nothing is served at this path; POST /rerank scores documents")
    known = view.table.versions
    near = nearest(path.rpartition("/")[2], list(known))
    if near is None:
        raise NotFoundError("no version has this path; GET /versions lists them", field="path")
    raise NotFoundError(
        f"no version has this path; the nearest is {near} at {known[near].endpoint}", field="path"
    )


def _headers(result: ScoreResult) -> Headers:
    headers = [(b"x-rerank-version", result.version.encode())]
    if result.fallback is not None:
        said = f"{result.fallback.asked}; reason={result.fallback.reason}"
        headers.append((b"x-rerank-fallback", said.encode()))
    return headers
