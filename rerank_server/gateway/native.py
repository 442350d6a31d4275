"""The server's own wire format: `query` and `docs` in, scores in input order and a ranking out."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from rerank_server.errors import RerankServerError
from rerank_server.gateway import fields
from rerank_server.gateway.dialect import Rendered, ScoreRequest, ScoreResult


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
        if request.return_docs:
            docs = request.docs
            ranking = [{"index": i, "score": shown[i], "doc": docs[i]} for i in order]
        else:
            ranking = [{"index": i, "score": shown[i]} for i in order]
        fallback = result.fallback
        return orjson.dumps(
            {
                "version": result.version,
                "scores": shown,
                "results": ranking,
                "fallback": None
                if fallback is None
                else {"from": fallback.asked, "reason": fallback.reason},
                "degraded": result.degraded,
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


NATIVE = Native()
