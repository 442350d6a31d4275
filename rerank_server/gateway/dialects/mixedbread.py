"""Mixedbread's format: documents under `input`."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from rerank_server.gateway import fields
from rerank_server.gateway.dialect import Key, ScoreRequest, ScoreResult
from rerank_server.gateway.dialects.shared import ObjectErrors, shown, usage, wants_docs, wants_raw


class Mixedbread(ObjectErrors):
    """The dialect of bodies with `input`."""

    def parse(self, body: Mapping[str, object], *, max_docs: int) -> ScoreRequest:
        """Read `query`, `input`, `rank_fields`, `top_k` and `return_input`.

        Raises:
            BadRequestError: a field is missing or of the wrong type.
            TooLargeError: more than `max_docs` entries in `input`.
        """
        return ScoreRequest(
            query=fields.query(body, "query"),
            docs=fields.documents(body, "input", max_docs, fields.names(body, "rank_fields")),
            model=fields.name(body, "model"),
            top_n=fields.top(body, "top_k"),
            return_docs=wants_docs(body) or False,
            raw_scores=wants_raw(body),
            docs_key=Key("input"),
        )

    def render(self, request: ScoreRequest, result: ScoreResult) -> bytes:
        """Return the answer, best document first."""
        values = shown(request, result.scores)
        order = result.scores.order()[: request.top_n]
        entries = [
            {
                "index": i,
                "score": values[i],
                "input": request.docs[i] if request.return_docs else None,
                "object": "rank_result",
            }
            for i in order
        ]
        return orjson.dumps(
            {
                "usage": usage(result),
                "model": result.version,
                "data": entries,
                "object": "list",
                "top_k": len(order),
                "return_input": request.return_docs,
            }
        )


MIXEDBREAD = Mixedbread()
