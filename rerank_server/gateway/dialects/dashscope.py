"""The format of Alibaba's DashScope: query and documents within `input`, `output` out."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from rerank_server.errors import RerankServerError
from rerank_server.gateway import fields
from rerank_server.gateway.dialect import Key, Rendered, ScoreRequest, ScoreResult
from rerank_server.gateway.dialects.shared import (
    document,
    originals,
    shown,
    status_of,
    usage,
    wants_docs,
    wants_raw,
)


class DashScope:
    """The dialect of bodies whose `input` is an object."""

    def parse(self, body: Mapping[str, object], *, max_docs: int) -> ScoreRequest:
        """Read `input.query`, `input.documents`, and `top_n` and the flags in `parameters`.

        Raises:
            BadRequestError: a field is missing or of the wrong type.
            TooLargeError: more than `max_docs` documents.
        """
        asked, parameters = fields.section(body, "input"), fields.section(body, "parameters")
        with fields.within("input"):
            query = fields.query(asked, "query")
            docs = fields.documents(asked, "documents", max_docs)
        with fields.within("parameters"):
            return_docs = wants_docs(parameters) or False
            top_n = fields.top(parameters, "top_n")
            raw_scores = wants_raw(parameters)
        return ScoreRequest(
            query=query,
            docs=docs,
            model=fields.name(body, "model"),
            top_n=top_n,
            return_docs=return_docs,
            originals=originals(asked, "documents") if return_docs else None,
            raw_scores=raw_scores,
            query_key=Key("input.query", is_list=False),
            docs_key=Key("input.documents"),
        )

    def render(self, request: ScoreRequest, result: ScoreResult) -> bytes:
        """Return the answer, best document first."""
        values = shown(request, result.scores)
        order = result.scores.order()[: request.top_n]
        entries: list[dict[str, object]] = [
            {"index": i, "relevance_score": values[i]} for i in order
        ]
        if request.return_docs:
            for entry, i in zip(entries, order, strict=True):
                entry["document"] = document(request, i)
        return orjson.dumps(
            {
                "output": {"results": entries},
                "usage": {"total_tokens": usage(result)["total_tokens"]},
                "request_id": result.request_id,
            }
        )

    def render_error(self, error: RerankServerError, request_id: str) -> Rendered:
        """Return the error; too many documents are a 400, a body too large stays 413."""
        body = {"code": error.code, "message": error.message, "request_id": request_id}
        return Rendered(status_of(error), orjson.dumps(body))


DASHSCOPE = DashScope()
