"""Scores a request: body to dialect, version, worker, and back."""

from __future__ import annotations

import time
from collections.abc import Sequence

import orjson
from starlette.types import Receive, Send

from rerank_server.core.routing import Choice, FallbackReason, choose
from rerank_server.errors import BadRequestError
from rerank_server.gateway.answers import Headers, send_json
from rerank_server.gateway.body import check_media_type, parse_object, receive_body
from rerank_server.gateway.dialect import Fallback, ScoreRequest, ScoreResult, Scores
from rerank_server.gateway.dialects.choice import pick
from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.metrics import UNKNOWN, Metrics
from rerank_server.gateway.queries import Part, join, split
from rerank_server.gateway.replies import scores_of
from rerank_server.gateway.table import Routes, View
from rerank_server.gateway.upstream import Errand
from rerank_server.gateway.walk import Journey, Walker

_YES = ("1", "true")


class Scoring:
    """What scores, at whatever path it was asked."""

    def __init__(self, walker: Walker, metrics: Metrics, routes: Routes) -> None:
        self._walker = walker
        self._routes = routes
        self._metrics = metrics

    async def serve(
        self,
        view: View,
        path_version: str | None,
        exchange: Exchange,
        receive: Receive,
        send: Send,
    ) -> None:
        """Serve one request.

        Raises:
            RerankServerError: what the client is to be told.
            ClientGoneError: nobody is left to be told anything.
        """
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
        exchange.dialect = pick(body, exchange.dialect)
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
        exchange.version = result.version
        exchange.fallback = _counted(choice, result)
        answer = exchange.dialect.render(request, result)
        await send_json(send, answer, headers(result.version, result.fallback))

    async def _result(
        self, journey: Journey, request: ScoreRequest, exchange: Exchange
    ) -> ScoreResult:
        if not request.docs:  # nothing to ask a worker for
            candidate = next(journey.candidates(), None)
            if candidate is None:
                raise journey.dead_end(None)
            fallback = journey.fallback(candidate.version, None)
            part = Part(candidate.version, Scores(), fallback)
        elif request.queries is None:
            part = await self._part(journey, request.query, request.docs, exchange)
        else:
            part = await join(
                split(request.queries, request.docs),
                lambda query, docs: self._part(journey, query, docs, exchange),
            )
        if part.scores.truncated and not request.may_truncate:
            raise BadRequestError(
                f"{len(part.scores.truncated)} documents are longer than the model takes, and "
                "the request does not let their ends be cut"
            )
        return ScoreResult(
            version=part.version,
            scores=part.scores,
            fallback=part.fallback,
            total_ms=(time.monotonic() - exchange.started) * 1000,
            request_id=exchange.request_id,
            created_s=int(time.time()),
        )

    async def _part(
        self, journey: Journey, query: str, docs: Sequence[str], exchange: Exchange
    ) -> Part:
        errand = Errand(
            payload=orjson.dumps({"query": query, "docs": docs}),
            request_id=exchange.request_id,
            deadline=exchange.started + journey.table.limits.request_timeout_s,
        )
        arrival = await self._walker.walk(journey, errand)
        return Part(arrival.version, scores_of(arrival.answer, len(docs)), arrival.fallback)


def headers(version: str, fallback: Fallback | None) -> Headers:
    """Return the headers that say who answered, and why it is not the one asked for."""
    found = [(b"x-rerank-version", version.encode())]
    if fallback is not None:
        said = f"{fallback.asked}; reason={fallback.reason}"
        found.append((b"x-rerank-fallback", said.encode()))
    return found


def _counted(choice: Choice, result: ScoreResult) -> Fallback | None:
    """Return the fallback that metrics count.

    The clients of other servers name some model of theirs in every body. That the default
    answers them is no event: counted, it would drown the fallbacks that someone must look at.
    """
    is_any_model = choice.by == "body" and choice.reason is FallbackReason.UNKNOWN_VERSION
    return None if is_any_model and result.version == choice.version else result.fallback
