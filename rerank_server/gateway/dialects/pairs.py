"""The format of vLLM's `/score`: `queries` against `documents`, answered in input order."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from rerank_server.errors import BadRequestError
from rerank_server.gateway import fields
from rerank_server.gateway.dialect import Key, ScoreRequest, ScoreResult
from rerank_server.gateway.dialects.shared import ObjectErrors, shown, usage, wants_raw

LEFT = ("queries", "text_1", "data_1")
"""Keys of one side; a body with one of them is of this format."""
_RIGHT = ("documents", "items", "text_2", "data_2")


class Pairs(ObjectErrors):
    """The dialect of bodies with `queries`, `text_1` or `data_1`."""

    def parse(self, body: Mapping[str, object], *, max_docs: int) -> ScoreRequest:
        """Read both sides: one query against all documents, or as many queries as documents.

        Raises:
            BadRequestError: a side is missing, of the wrong type, or the lengths do not fit.
            TooLargeError: more than `max_docs` of either.
        """
        left_key, right_key = _key(body, LEFT), _key(body, _RIGHT)
        queries = _side(body, left_key, max_docs)
        docs = _side(body, right_key, max_docs)
        if not queries:
            raise BadRequestError(f"{left_key} is empty; send at least one", field=left_key)
        for i, query in enumerate(queries):
            fields.text(query, f"{left_key}[{i}]")
        if len(queries) not in (1, len(docs)):
            raise BadRequestError(
                f"{left_key} has {len(queries)} entries and {right_key} {len(docs)}; "
                "send one query, or one for each",
                field=left_key,
            )
        return ScoreRequest(
            query=queries[0],
            docs=docs,
            model=fields.name(body, "model"),
            raw_scores=wants_raw(body),
            queries=queries if len(queries) > 1 else None,
            query_key=Key(left_key, not isinstance(body.get(left_key), str)),
            docs_key=Key(right_key, not isinstance(body.get(right_key), str)),
        )

    def render(self, request: ScoreRequest, result: ScoreResult) -> bytes:
        """Return a score for each document, in input order."""
        values = shown(request, result.scores)
        return orjson.dumps(
            {
                "id": result.request_id,
                "object": "list",
                "created": result.created_s,
                "model": result.version,
                "data": [
                    {"index": i, "object": "score", "score": value}
                    for i, value in enumerate(values)
                ],
                "usage": usage(result),
            }
        )


def _key(body: Mapping[str, object], keys: tuple[str, ...]) -> str:
    """Return the first of the keys that the body has, or the first to be named as missing."""
    return next((key for key in keys if body.get(key) is not None), keys[0])


def _side(body: Mapping[str, object], key: str, max_count: int) -> list[str]:
    value = body.get(key)
    if isinstance(value, str):
        return [value]
    return fields.documents(body, key, max_count)


PAIRS = Pairs()
