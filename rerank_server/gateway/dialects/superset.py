"""The format of bodies with `documents`: Cohere, Jina, vLLM, Xinference, llama.cpp, Infinity.

They ask nearly the same question, and none can be told from the others for certain. So one answer
has what each of their clients reads: Infinity's wants `object` to be "rerank", Vercel's for
Together wants `completion_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from rerank_server.errors import BadRequestError
from rerank_server.gateway import fields
from rerank_server.gateway.dialect import Key, ScoreRequest, ScoreResult
from rerank_server.gateway.dialects.shared import (
    ObjectErrors,
    document,
    originals,
    search_units,
    shown,
    usage,
    wants_docs,
    wants_raw,
)
from rerank_server.gateway.dialects.voyage import ranked

BARE = frozenset(("model", "query", "documents", "return_documents"))
"""Keys that Voyage's clients send, too; a body with no other may be from one of those."""
_VLLM_ONLY = ("use_activation", "activation", "truncate_prompt_tokens", "truncation_side")
"""Keys that only vLLM's clients send; vLLM always sends the documents back."""


class Superset(ObjectErrors):
    """The dialect of bodies with `documents`."""

    def parse(self, body: Mapping[str, object], *, max_docs: int) -> ScoreRequest:
        """Read `query`, `documents` and what of the optional keys has a meaning here.

        Raises:
            BadRequestError: a field is missing or of the wrong type.
            TooLargeError: more than `max_docs` documents.
        """
        rank_fields = fields.names(body, "rank_fields")
        return_docs = wants_docs(body)
        if return_docs is None:
            return_docs = any(body.get(key) is not None for key in _VLLM_ONLY)
        return ScoreRequest(
            query=fields.query(body, "query"),
            docs=fields.documents(body, "documents", max_docs, rank_fields),
            model=fields.name(body, "model"),
            top_n=_top(body),
            return_docs=return_docs,
            originals=originals(body, "documents") if return_docs else None,
            raw_scores=wants_raw(body),
            # Models here keep a text's beginning; one that must keep its end may not be cut.
            may_truncate=fields.word(body, "truncation_side", ("right", "left")) == "right",
            docs_key=Key("documents"),
        )

    def render(self, request: ScoreRequest, result: ScoreResult) -> bytes:
        """Return the answer, best document first."""
        return orjson.dumps(self._answer(request, result))

    def _answer(self, request: ScoreRequest, result: ScoreResult) -> dict[str, object]:
        scores = result.scores
        values = shown(request, scores)
        order = scores.order()[: request.top_n]
        results: list[dict[str, object]] = [
            {"index": i, "relevance_score": values[i]} for i in order
        ]
        if request.return_docs:
            for entry, i in zip(results, order, strict=True):
                entry["document"] = document(request, i)
        if scores.stages:
            for entry, i in zip(results, order, strict=True):
                entry["stage"] = scores.stages[i]
        used = usage(result) | {"completion_tokens": 0}
        meta: dict[str, object] = {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": search_units(request)},
            "tokens": {"input_tokens": used["total_tokens"], "output_tokens": 0},
        }
        if scores.truncated:
            cut = f"{len(scores.truncated)} documents were longer than the model takes and were cut"
            meta["warnings"] = [cut]
        return {
            "id": result.request_id,
            "object": "rerank",
            "created": result.created_s,
            "model": result.version,
            "results": results,
            "usage": used,
            "meta": meta,
        }


class Bare(Superset):
    """The dialect of bodies with nothing that tells Voyage's clients from all the others.

    The answer has the ranking twice, under `results` and, as Voyage has it, under `data`.
    """

    def _answer(self, request: ScoreRequest, result: ScoreResult) -> dict[str, object]:
        answer = super()._answer(request, result)
        return answer | {"data": ranked(request, result)}


def _top(body: Mapping[str, object]) -> int | None:
    top_n, top_k = fields.top(body, "top_n"), fields.top(body, "top_k")
    if top_n is not None and top_k is not None and top_n != top_k:
        raise BadRequestError("top_n and top_k contradict each other", field="top_k")
    return top_n if top_n is not None else top_k


SUPERSET = Superset()
BARE_SUPERSET = Bare()
