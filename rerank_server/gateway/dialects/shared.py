"""What the wire formats of other servers have in common: flags, usage, the error object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from rerank_server.errors import BadRequestError, RerankServerError, TooLargeError
from rerank_server.gateway import fields
from rerank_server.gateway.dialect import Rendered, ScoreRequest, ScoreResult, Scores

_RAW_FLAGS = (
    ("raw_scores", True),
    ("use_activation", False),
    ("activation", False),
    ("normalize", False),
)
"""Each server's own word for raw scores: Infinity and TEI, vLLM now and before, GPUStack."""

_DOCS_PER_SEARCH_UNIT = 100  # as Cohere bills: a query with up to so many documents
_RETURN_FLAGS = ("return_documents", "return_text", "return_input")


def wants_raw(body: Mapping[str, object]) -> bool:
    """Tell whether raw scores are asked for, in any server's words; 0..1 unless one does."""
    asked = [
        fields.optional_flag(body, key) is means_raw for key, means_raw in _RAW_FLAGS if key in body
    ]
    return True in asked


def wants_docs(body: Mapping[str, object]) -> bool | None:
    """Tell whether the documents are to be sent back; None: the body does not say."""
    said = [fields.optional_flag(body, key) for key in _RETURN_FLAGS if key in body]
    return next((value for value in said if value is not None), None)


def shown(request: ScoreRequest, scores: Scores) -> list[float]:
    """Return the scores as asked for, in input order."""
    return list(scores.raw if request.raw_scores else scores.unit)


def originals(body: Mapping[str, object], key: str) -> Sequence[object] | None:
    """Return the documents as they were sent, if some of them are objects."""
    sent = body.get(key)
    has_objects = isinstance(sent, list) and dict in map(type, sent)
    return sent if has_objects else None  # type: ignore[return-value]  # a list, as was seen


def document(request: ScoreRequest, index: int) -> Mapping[str, object]:
    """Return a document to be sent back as an object: all it had when it was sent, and `text`."""
    text = {"text": request.docs[index]}
    sent = None if request.originals is None else request.originals[index]
    return text | sent if isinstance(sent, dict) else text


def search_units(request: ScoreRequest) -> int:
    """Return what Cohere and Pinecone would bill."""
    return -(-len(request.docs) // _DOCS_PER_SEARCH_UNIT)


def usage(result: ScoreResult) -> dict[str, int]:
    """Return the count of tokens as most servers name it."""
    tokens = sum(result.scores.tokens)
    return {"prompt_tokens": tokens, "total_tokens": tokens}


class ObjectErrors:
    """Errors in one object that the clients of all these servers read.

    vLLM, Infinity and llama.cpp have `error.message`, Cohere `message`, Jina, Voyage and
    Xinference `detail`. Never 422: Open WebUI takes it for a server of another kind, for good.
    """

    def render_error(self, error: RerankServerError, request_id: str) -> Rendered:
        """Return the error; too many documents are a 400, a body too large stays 413."""
        status = status_of(error)
        shape = {
            "message": error.message,
            "type": error.code,
            "param": error.field,
            "code": status,
        }
        body = {
            "error": shape,
            "message": error.message,
            "detail": error.message,
            "id": request_id,
        }
        return Rendered(status, orjson.dumps(body))


def status_of(error: RerankServerError) -> int:
    """Return the status of an error outside the server's own format."""
    if isinstance(error, TooLargeError) and error.field is not None:
        return BadRequestError.status  # something in the body, not the body itself
    return error.status
