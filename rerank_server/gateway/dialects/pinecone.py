"""Pinecone's format: asked like Cohere's, told by a header, `data` with `score` out."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from rerank_server.gateway import fields
from rerank_server.gateway.dialect import Key, ScoreRequest, ScoreResult
from rerank_server.gateway.dialects.shared import (
    ObjectErrors,
    document,
    originals,
    search_units,
    shown,
    wants_docs,
    wants_raw,
)

SIGN = b"x-pinecone-api-version"
"""The header that all clients of Pinecone send; their bodies look like Cohere's."""


class Pinecone(ObjectErrors):
    """The dialect of bodies with `documents` that come with Pinecone's header."""

    def parse(self, body: Mapping[str, object], *, max_docs: int) -> ScoreRequest:
        """Read `query`, `documents`, `rank_fields`, `top_n`, `return_documents`, `parameters`.

        Raises:
            BadRequestError: a field is missing or of the wrong type.
            TooLargeError: more than `max_docs` documents.
        """
        return_docs = wants_docs(body) is not False
        parameters = fields.section(body, "parameters")
        return ScoreRequest(
            query=fields.query(body, "query"),
            docs=fields.documents(body, "documents", max_docs, fields.names(body, "rank_fields")),
            model=fields.name(body, "model"),
            top_n=fields.top(body, "top_n"),
            return_docs=return_docs,
            originals=originals(body, "documents") if return_docs else None,
            raw_scores=wants_raw(body),
            may_truncate=fields.word(parameters, "truncate", ("END", "NONE")) == "END",
            docs_key=Key("documents"),
        )

    def render(self, request: ScoreRequest, result: ScoreResult) -> bytes:
        """Return the answer, best document first; documents are objects."""
        values = shown(request, result.scores)
        order = result.scores.order()[: request.top_n]
        entries: list[dict[str, object]] = [{"index": i, "score": values[i]} for i in order]
        if request.return_docs:
            for entry, i in zip(entries, order, strict=True):
                entry["document"] = document(request, i)
        return orjson.dumps(
            {
                "model": result.version,
                "data": entries,
                "usage": {"rerank_units": search_units(request)},
            }
        )


PINECONE = Pinecone()
