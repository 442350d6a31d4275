"""Voyage's format: `documents` like the others', but `top_k` in and `data` out."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from rerank_server.gateway import fields
from rerank_server.gateway.dialect import Key, ScoreRequest, ScoreResult
from rerank_server.gateway.dialects.shared import ObjectErrors, shown, usage, wants_docs, wants_raw

SIGNS = ("top_k", "truncation")
"""Keys beside `documents` that only Voyage's clients send."""


class Voyage(ObjectErrors):
    """The dialect of bodies with `documents` and one of the signs, and no `top_n`."""

    def parse(self, body: Mapping[str, object], *, max_docs: int) -> ScoreRequest:
        """Read `query`, `documents`, `top_k`, `return_documents` and `truncation`.

        Raises:
            BadRequestError: a field is missing or of the wrong type.
            TooLargeError: more than `max_docs` documents.
        """
        return ScoreRequest(
            query=fields.query(body, "query"),
            docs=fields.documents(body, "documents", max_docs),
            model=fields.name(body, "model"),
            top_n=fields.top(body, "top_k"),
            return_docs=wants_docs(body) or False,
            raw_scores=wants_raw(body),
            may_truncate=fields.optional_flag(body, "truncation") is not False,
            docs_key=Key("documents"),
        )

    def render(self, request: ScoreRequest, result: ScoreResult) -> bytes:
        """Return the answer, best document first; documents are plain strings."""
        return orjson.dumps(
            {
                "object": "list",
                "data": ranked(request, result),
                "model": result.version,
                "usage": {"total_tokens": usage(result)["total_tokens"]},
            }
        )


def ranked(request: ScoreRequest, result: ScoreResult) -> list[dict[str, object]]:
    """Return the ranking as Voyage has it under `data`."""
    values = shown(request, result.scores)
    order = result.scores.order()[: request.top_n]
    entries: list[dict[str, object]] = [{"index": i, "relevance_score": values[i]} for i in order]
    if request.return_docs:
        for entry, i in zip(entries, order, strict=True):
            entry["document"] = request.docs[i]
    return entries


VOYAGE = Voyage()
