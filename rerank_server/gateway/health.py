"""The health of one version: whether it is served and, if asked deeply, whether it scores right."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from rerank_server.core.routing import RoutesTable, Target, VersionRoute, is_served
from rerank_server.errors import RerankServerError, UnavailableError
from rerank_server.gateway.answers import send_json
from rerank_server.gateway.connection import Answer
from rerank_server.gateway.dialect import Scores
from rerank_server.gateway.exchange import Exchange, exchange_of
from rerank_server.gateway.paths import Page
from rerank_server.gateway.replies import scores_of
from rerank_server.gateway.table import View
from rerank_server.gateway.upstream import Errand, Refused
from rerank_server.gateway.walk import Walker

_SUFFIX = "/health"
_DEEP = (b"deep=1", b"deep=true")


class Health:
    """Answers GET <endpoint>/health, and hands everything else on."""

    def __init__(self, others: ASGIApp, walker: Walker) -> None:
        self._others = others
        self._walker = walker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            UnavailableError: the version is not served, or does not score as it should.
        """
        exchange = exchange_of(scope)
        route = _route(exchange.view, scope["path"])
        if exchange.view is None or route is None:
            await self._others(scope, receive, send)
            return
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        if not is_served(exchange.view.table, route.name):
            raise UnavailableError(f"version {route.name} is not served ({_absence(route)})")
        said: dict[str, object] = {"status": "ok", "version": route.name}
        if set(scope["query_string"].split(b"&")).intersection(_DEEP):
            table = exchange.view.table
            said["instances"] = [
                await self._probe(table, target, exchange) for target in _targets(table, route)
            ]
        await send_json(send, orjson.dumps(said), [])

    async def _probe(
        self, table: RoutesTable, target: Target, exchange: Exchange
    ) -> dict[str, object]:
        """Have one process score the fixed pairs.

        Raises:
            UnavailableError: it cannot, or a better document did not come out first.
        """
        errand = Errand(
            payload=b"",
            request_id=exchange.request_id,
            deadline=exchange.started + table.limits.request_timeout_s,
            is_probe=True,
        )
        try:
            outcome = await self._walker.ask(target, errand)
            if not isinstance(outcome, Answer):
                how = outcome.reason if isinstance(outcome, Refused) else "it died of it"
                raise UnavailableError(f"no answer ({how})")
            scores = scores_of(outcome, _count(outcome))
        except RerankServerError as error:
            raise UnavailableError(f"{target.instance}: {error.message}") from error
        problem = _problem(scores)
        if problem is not None:
            raise UnavailableError(f"{target.instance}: {problem}")
        return {
            "id": target.instance,
            "scores": scores.unit,
            "inference_ms": scores.inference_ms,
        }


def has_health(view: View, path: str) -> bool:
    """Tell whether a path means the health of one version."""
    return _route(view, path) is not None


def _route(view: View | None, path: str) -> VersionRoute | None:
    """Return the version whose health a path means; a version's own path goes before that."""
    if view is None or not path.endswith(_SUFFIX) or path in view.paths:
        return None
    place = view.paths.get(path.removesuffix(_SUFFIX))
    if place is None or place.page is not Page.SCORE:
        return None
    return view.table.versions.get(place.version or view.table.default)


def _targets(table: RoutesTable, route: VersionRoute) -> Sequence[Target]:
    """Return the processes that answer for a version; a cascade's stages each score by themselves.

    All that is asked here is whether they score right.
    """
    if not route.cascade:
        return route.targets
    return [target for stage in route.cascade for target in table.versions[stage.version].targets]


def _absence(route: VersionRoute) -> str:
    return route.absent or ("starting" if route.enabled else "disabled")


def _count(answer: Answer) -> int:
    """Return how many scores an answer claims to have: the worker knows its own fixed pairs."""
    try:
        raw = orjson.loads(answer.body)["raw"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return 0
    return len(raw) if isinstance(raw, list) else 0


def _problem(scores: Scores) -> str | None:
    """Tell what is wrong with the scores of the fixed pairs, of which the first fits best."""
    if len(scores.raw) < 2:
        return "it scored nothing"
    if scores.raw[0] < max(scores.raw):
        shown = ", ".join(f"{score:.4g}" for score in scores.raw)
        return f"the document that answers the question did not come first: {shown}"
    if scores.raw[0] == min(scores.raw):
        return f"it gives every document the same score: {scores.raw[0]:.4g}"
    return None
