"""Scores a request: body to dialect, version, worker, and back."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import orjson
from starlette.types import Receive, Send

from rerank_server.core.routing import Choice, FallbackReason, choose
from rerank_server.errors import BadRequestError, RerankServerError
from rerank_server.gateway.answers import Headers, send_json
from rerank_server.gateway.blame import is_arms_own
from rerank_server.gateway.body import check_media_type, parse_object, receive_body
from rerank_server.gateway.copies import Original, Witness
from rerank_server.gateway.deadline import HEADER, timeout_s
from rerank_server.gateway.dialect import Fallback, ScoreRequest, ScoreResult, Scores
from rerank_server.gateway.dialects.choice import pick
from rerank_server.gateway.exchange import Exchange
from rerank_server.gateway.gate import Gate, Hold
from rerank_server.gateway.metrics import UNKNOWN, Metrics
from rerank_server.gateway.mirror import Mirroring
from rerank_server.gateway.queries import Part, join, split
from rerank_server.gateway.replies import scores_of
from rerank_server.gateway.split import headers as traffic_headers
from rerank_server.gateway.split import key_of, split_of
from rerank_server.gateway.stages import stage_headers
from rerank_server.gateway.table import Routes, View
from rerank_server.gateway.trace import server_timing
from rerank_server.gateway.upstream import Errand
from rerank_server.gateway.walk import Journey, Walker

_YES = ("1", "true")


class Scoring:
    """What scores, at whatever path it was asked."""

    def __init__(
        self, walker: Walker, metrics: Metrics, routes: Routes, witness: Witness | None = None
    ) -> None:
        self._gate = Gate(metrics.holds)
        self._walker = walker
        self._routes = routes
        self._metrics = metrics
        self._mirroring = Mirroring(
            walker, routes, self._gate.load, metrics.mirror, witness=witness
        )

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
            with self._gate.open(view.table, path_version) as hold:
                check_media_type(exchange)
                body = await receive_body(receive, exchange, hold)
                try:
                    answer, more = await self._score(view, path_version, exchange, body, hold)
                except RerankServerError as error:
                    exchange.is_evidence = is_arms_own(error, exchange, view.table, hold)
                    raise
                await send_json(send, answer, more)
            # What it held is given back: the answered request itself leaves no copy without room.
            self._mirror(exchange, len(body))
        finally:
            self._metrics.ended()

    async def _score(
        self,
        view: View,
        path_version: str | None,
        exchange: Exchange,
        body: bytes,
        hold: Hold,
    ) -> tuple[bytes, Headers]:
        """Return the answer's body and its headers."""
        parsed = parse_object(body)
        exchange.dialect = pick(parsed, exchange.dialect, exchange.headers)
        request = exchange.dialect.parse(parsed, max_docs=hold.limits.max_docs)
        choice = choose(
            view.table,
            path_version=path_version,
            header=exchange.header(b"x-rerank-version"),
            model=request.model,
            key=key_of(exchange),
        )
        is_strict = (exchange.header(b"x-rerank-strict") or "").lower() in _YES
        exchange.version = choice.version or UNKNOWN
        exchange.patience_s = timeout_s(exchange.headers.get(HEADER), math.inf)
        # From here on a refusal (4xx) is the arm's: what is not valid at all was refused above.
        # A strict request for a model that is none here is refused, and no arm has failed by it.
        exchange.arm = None if is_strict and choice.reason is not None else choice.arm
        exchange.request, exchange.pairs = request, len(request.docs)
        limits = hold.enter(choice.version, request)
        errand = Errand(
            payload=b"",
            request_id=exchange.request_id,
            deadline=exchange.started + min(exchange.patience_s, limits.request_timeout_s),
            max_queued_pairs=limits.max_queued_pairs,
            trace=exchange.trace,
        )
        journey = Journey(view.table, choice, is_strict, self._routes)
        result = await self._result(journey, request, errand, exchange)
        exchange.version, exchange.scores = result.version, result.scores
        exchange.fallback = _counted(choice, result)
        answer = exchange.dialect.render(request, result)
        said = headers(result.version, result.fallback, result.degraded)
        said += [*traffic_headers(result.split), *stage_headers(result.scores)]
        return answer, [*said, server_timing(result)]

    async def _result(
        self, journey: Journey, request: ScoreRequest, errand: Errand, exchange: Exchange
    ) -> ScoreResult:
        if not request.docs:  # nothing to ask a worker for
            candidate = next(journey.candidates(), None)
            if candidate is None:
                raise journey.dead_end(None)
            fallback = journey.fallback(candidate.version, None)
            degraded = journey.table.versions[candidate.version].degraded
            part = Part(candidate.version, Scores(), fallback, degraded)
        elif request.queries is None:
            part = await self._part(journey, request.query, request.docs, errand)
        else:
            part = await join(
                split(request.queries, request.docs),
                lambda query, docs: self._part(journey, query, docs, errand),
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
            degraded=part.degraded,
            split=split_of(exchange),
            total_ms=(time.monotonic() - exchange.started) * 1000,
            request_id=exchange.request_id,
            created_s=int(time.time()),
        )

    async def _part(
        self, journey: Journey, query: str, docs: Sequence[str], errand: Errand
    ) -> Part:
        payload = orjson.dumps({"query": query, "docs": docs})
        arrival = await self._walker.walk(journey, replace(errand, payload=payload))
        scores = scores_of(arrival.answer, len(docs))
        return Part(arrival.version, scores, arrival.fallback, arrival.degraded)

    def _mirror(self, exchange: Exchange, body_bytes: int) -> None:
        """Offer an answered request to be copied, unless its client asks for none."""
        if exchange.header(b"x-rerank-mirror") == "never":
            return
        version = exchange.version
        assert version is not None, "it was answered"
        assert exchange.request is not None, "it was answered"
        assert exchange.scores is not None, "it was answered"
        self._mirroring.offer(
            Original(
                request_id=exchange.request_id,
                version=version,
                fallback=exchange.fallback,
                request=exchange.request,
                scores=exchange.scores,
                body_bytes=body_bytes,
            )
        )


def headers(
    version: str, fallback: Fallback | None, degraded: FallbackReason | None = None
) -> Headers:
    """Return the headers that say who answered, why not the one asked for, and if from a CPU."""
    found = [(b"x-rerank-version", version.encode())]
    if fallback is not None:
        said = f"{fallback.asked}; reason={fallback.reason}"
        found.append((b"x-rerank-fallback", said.encode()))
    if degraded is not None:
        found.append((b"x-rerank-degraded", degraded.encode()))
    return found


def _counted(choice: Choice, result: ScoreResult) -> Fallback | None:
    """Return the fallback that metrics count.

    The clients of other servers name some model of theirs in every body. That the default
    answers them is no event: counted, it would drown the fallbacks that someone must look at.
    """
    is_any_model = choice.by != "header" and choice.reason is FallbackReason.UNKNOWN_VERSION
    return None if is_any_model and result.version == choice.version else result.fallback
