"""The format of bodies with `texts`: text-embeddings-inference, and llama.cpp in its manner."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from rerank_server.errors import BadRequestError, ModelError, RerankServerError, TooLargeError
from rerank_server.gateway import fields
from rerank_server.gateway.dialect import Key, Rendered, ScoreRequest, ScoreResult
from rerank_server.gateway.dialects.shared import shown, wants_docs, wants_raw

_VALIDATION = 422
_FAILED = 424
_ERROR_TYPES = {
    400: "validation",
    401: "validation",
    403: "validation",
    413: "validation",
    422: "validation",
    429: "overloaded",
    503: "unhealthy",
}
"""By status; what is not here went wrong behind the gateway."""


class NoTextsError(BadRequestError):
    """`texts` is empty; send at least one."""


class Tei:
    """The dialect of bodies with `texts`. Nothing is ever left out of the answer."""

    def parse(self, body: Mapping[str, object], *, max_docs: int) -> ScoreRequest:
        """Read `query`, `texts` and the optional flags; there is no `top_n` here.

        Raises:
            BadRequestError: a field is missing or of the wrong type, or there are no texts.
            TooLargeError: more than `max_docs` texts.
        """
        docs = fields.documents(body, "texts", max_docs)
        if not docs:
            raise NoTextsError(field="texts")
        return ScoreRequest(
            query=fields.query(body, "query"),
            docs=docs,
            model=fields.name(body, "model"),
            return_docs=wants_docs(body) or False,
            raw_scores=wants_raw(body),
            may_truncate=_may_truncate(body),
            docs_key=Key("texts"),
        )

    def render(self, request: ScoreRequest, result: ScoreResult) -> bytes:
        """Return the bare array, best text first."""
        values = shown(request, result.scores)
        order = result.scores.order()
        if request.return_docs:
            docs = request.docs
            return orjson.dumps([{"index": i, "text": docs[i], "score": values[i]} for i in order])
        return orjson.dumps([{"index": i, "score": values[i]} for i in order])

    def render_error(self, error: RerankServerError, request_id: str) -> Rendered:
        """Return the error with the status and type that this server would have."""
        status = _status(error)
        error_type = "empty" if isinstance(error, NoTextsError) else _ERROR_TYPES.get(status)
        body = {"error": error.message, "error_type": error_type or "backend"}
        return Rendered(status, orjson.dumps(body))


def _status(error: RerankServerError) -> int:
    match error:
        case NoTextsError():
            return error.status
        case BadRequestError():
            return _VALIDATION
        case TooLargeError() if error.field is not None:
            return _VALIDATION  # something in the body; a body too large stays 413
        case ModelError():
            return _FAILED
        case _:
            return error.status


def _may_truncate(body: Mapping[str, object]) -> bool:
    direction = fields.word(body, "truncation_direction", ("Right", "Left", "right", "left"))
    # Models here keep a text's beginning; one that must keep its end may not be cut at all.
    return direction.lower() == "right" and fields.optional_flag(body, "truncate") is not False


TEI = Tei()
