"""The format of NVIDIA's reranking NIM: `passages` in, `rankings` out."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from rerank_server.gateway import fields
from rerank_server.gateway.dialect import QUERY, Key, ScoreRequest, ScoreResult
from rerank_server.gateway.dialects.shared import ObjectErrors, shown, usage, wants_raw

_TRUNCATE = ("END", "NONE", "START")


class Nim(ObjectErrors):
    """The dialect of bodies with `passages`."""

    def parse(self, body: Mapping[str, object], *, max_docs: int) -> ScoreRequest:
        """Read `query` and `passages`, each `{"text"}` or a string, `top_k` and `truncate`.

        Raises:
            BadRequestError: a field is missing or of the wrong type.
            TooLargeError: more than `max_docs` passages.
        """
        query, query_key = body.get("query"), QUERY
        if isinstance(query, dict):
            query_key = Key("query.text", is_list=False)
            query = fields.text(query.get("text"), query_key.name)
        else:
            query = fields.query(body, "query")
        return ScoreRequest(
            query=query,
            docs=fields.documents(body, "passages", max_docs),
            model=fields.name(body, "model"),
            top_n=fields.top(body, "top_k"),
            raw_scores=wants_raw(body),
            may_truncate=fields.word(body, "truncate", _TRUNCATE) == "END",
            query_key=query_key,
            docs_key=Key("passages"),
        )

    def render(self, request: ScoreRequest, result: ScoreResult) -> bytes:
        """Return the answer, best passage first. `logit` is 0..1 unless raw scores are asked."""
        values = shown(request, result.scores)
        order = result.scores.order()[: request.top_n]
        return orjson.dumps(
            {
                "rankings": [{"index": i, "logit": values[i]} for i in order],
                "usage": usage(result),
            }
        )


NIM = Nim()
