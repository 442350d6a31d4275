"""The server's own wire format: `query` and `docs` in, scores in input order and a ranking out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from rerank_server.errors import RerankServerError
from rerank_server.gateway import fields
from rerank_server.gateway.dialect import Rendered, ScoreRequest, ScoreResult, Scores


class Native:
    """The dialect of bodies with `docs`; keys it does not know are ignored."""

    def parse(self, body: Mapping[str, object], *, max_docs: int) -> ScoreRequest:
        """Read `query`, `docs` and the optional `model`, `top_n`, `return_docs`, `raw_scores`.

        Raises:
            BadRequestError: a field is missing or of the wrong type.
            TooLargeError: more than `max_docs` documents.
        """
        return ScoreRequest(
            query=fields.query(body, "query"),
            docs=fields.texts(body, "docs", max_docs),
            model=fields.name(body, "model"),
            top_n=fields.count(body, "top_n"),
            return_docs=fields.flag(body, "return_docs"),
            raw_scores=fields.flag(body, "raw_scores"),
        )

    def render(self, request: ScoreRequest, result: ScoreResult) -> bytes:
        """Return the answer: every score in input order, and the ranking by raw score."""
        scores = result.scores
        shown = scores.raw if request.raw_scores else scores.unit
        order = scores.order()[: request.top_n]
        ranking: list[dict[str, object]] = [{"index": i, "score": shown[i]} for i in order]
        if request.return_docs:
            for ranked, i in zip(ranking, order, strict=True):
                ranked["doc"] = request.docs[i]
        if scores.stages:
            for ranked, i in zip(ranking, order, strict=True):
                ranked["stage"] = scores.stages[i]
        if scores.truncated or scores.windows:
            _tell_lengths(ranking, order, scores)
        fallback = result.fallback
        told = {} if result.split is None else {"traffic": result.split}
        return orjson.dumps(
            {
                "version": result.version,
                "scores": shown,
                "results": ranking,
                "fallback": None
                if fallback is None
                else {"from": fallback.asked, "reason": fallback.reason},
                "degraded": result.degraded,
                **told,
                "usage": {"pairs": len(scores.raw), "tokens": sum(scores.tokens)},
                "timing_ms": {
                    "queue": round(scores.queue_ms, 3),
                    "inference": round(scores.inference_ms, 3),
                    "total": round(result.total_ms, 3),
                },
            }
        )

    def render_error(self, error: RerankServerError, request_id: str) -> Rendered:
        """Return the server's one error shape."""
        shape = {"code": error.code, "message": error.message}
        if error.field is not None:
            shape["field"] = error.field
        body = orjson.dumps({"error": shape, "request_id": request_id})
        return Rendered(error.status, body)


def _tell_lengths(
    ranking: Sequence[dict[str, object]], order: Sequence[int], scores: Scores
) -> None:
    """Say which documents were cut off, and which window of those cut into several won."""
    truncated = set(scores.truncated)
    for result, i in zip(ranking, order, strict=True):
        if i in truncated:
            result["truncated"] = True
        if scores.windows:
            start, end, number, count = scores.windows[i]
            if count > 1:
                result["window"] = {"start": start, "end": end, "number": number, "count": count}


NATIVE = Native()
