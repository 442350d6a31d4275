"""Schemas of what is answered, format by format, and of errors."""

from __future__ import annotations

from rerank_server.gateway.openapi.words import (
    BOOLEAN,
    COUNT,
    NAME,
    NUMBER,
    STRING,
    Json,
    array,
    ref,
    structure,
)

_LIST: Json = {"const": "list"}
_SCORE: dict[str, Json] = {"index": COUNT, "score": NUMBER}
_RELEVANCE: dict[str, Json] = {"index": COUNT, "relevance_score": NUMBER}
_USED: Json = {"prompt_tokens": 22, "total_tokens": 22}


def _ranked(properties: dict[str, Json], *optional: str) -> Json:
    required = [key for key in properties if key not in optional]
    return array(structure("One document.", properties, required))


_WINDOW = structure(
    "The best of the windows a long document was cut into, in characters of the document.",
    {"start": COUNT, "end": COUNT, "number": COUNT, "count": COUNT},
    ["start", "end", "number", "count"],
)
_STAGE: Json = {"type": "string", "description": "Of a cascade: the version whose score it is."}
_NATIVE = structure(
    "Scores in input order, and the ranking.",
    {
        "version": STRING,
        "scores": array(NUMBER),
        "results": _ranked(
            {**_SCORE, "doc": STRING, "stage": _STAGE, "truncated": BOOLEAN, "window": _WINDOW},
            *("doc", "stage", "truncated", "window"),
        ),
        "fallback": {
            "type": ["object", "null"],
            "properties": {"from": STRING, "reason": STRING},
            "description": "Set when another version answered than the one asked for.",
        },
        "degraded": {
            "type": ["string", "null"],
            "description": "Set when the version runs on the CPU for want of a GPU: why.",
        },
        "traffic": structure(
            "Where the server splits the requests that name no version: to whom this one belongs.",
            {
                "arm": STRING,
                "share": NUMBER,
                "by": {"enum": ["key", "request"]},
                "source": {"enum": ["config", "operator", "rollout"]},
            },
            ["arm", "share", "by", "source"],
        ),
        "usage": structure("Work done.", {"pairs": COUNT, "tokens": COUNT}, ["pairs", "tokens"]),
        "timing_ms": structure(
            "Milliseconds.",
            {"queue": NUMBER, "inference": NUMBER, "total": NUMBER},
            ["queue", "inference", "total"],
        ),
    },
    ["version", "scores", "results", "usage", "timing_ms"],
    {
        "version": "v2-m3",
        "scores": [0.99826, 0.00003],
        "results": [{"index": 0, "score": 0.99826}, {"index": 1, "score": 0.00003}],
        "fallback": None,
        "degraded": None,
        "usage": {"pairs": 2, "tokens": 22},
        "timing_ms": {"queue": 0.6, "inference": 14.2, "total": 15.9},
    },
)
_DOCUMENTS = structure(
    "What the clients of Cohere, Jina, vLLM, Xinference, llama.cpp and Infinity read.",
    {
        "id": STRING,
        "object": {"const": "rerank"},
        "created": COUNT,
        "model": STRING,
        "results": _ranked(
            {**_RELEVANCE, "document": ref("Document"), "stage": _STAGE}, "document", "stage"
        ),
        "usage": ref("Usage"),
        "meta": {"type": "object"},
        "data": {
            **_ranked({**_RELEVANCE, "document": STRING}, "document"),
            "description": "The ranking as Voyage has it; where the request may be Voyage's.",
        },
    },
    ["id", "object", "created", "model", "results", "usage", "meta"],
    {
        "id": "6b1580ea00b6-2",
        "object": "rerank",
        "created": 1795369813,
        "model": "v2-m3",
        "results": [{"index": 0, "relevance_score": 0.99826}],
        "usage": _USED,
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": 22, "output_tokens": 0},
        },
    },
)
_TEI = {
    **_ranked({**_SCORE, "text": STRING}, "text"),
    "description": "All texts, best first.",
    "examples": [
        [
            {"index": 0, "text": "Paris is its capital.", "score": 0.99826},
            {"index": 1, "text": "Rome is in Italy.", "score": 0.00003},
        ]
    ],
}
_PAIRS = structure(
    "A score for each document, in input order.",
    {
        "id": STRING,
        "object": _LIST,
        "created": COUNT,
        "model": STRING,
        "data": _ranked({**_SCORE, "object": {"const": "score"}}),
        "usage": ref("Usage"),
    },
    ["id", "object", "created", "model", "data", "usage"],
    {
        "id": "6b1580ea00b6-4",
        "object": "list",
        "created": 1795369814,
        "model": "v2-m3",
        "data": [
            {"index": 0, "object": "score", "score": 0.99826},
            {"index": 1, "object": "score", "score": 0.00003},
        ],
        "usage": _USED,
    },
)
_MIXEDBREAD = structure(
    "Ranked.",
    {
        "usage": ref("Usage"),
        "model": STRING,
        "data": _ranked({**_SCORE, "input": NAME, "object": {"const": "rank_result"}}),
        "object": _LIST,
        "top_k": COUNT,
        "return_input": BOOLEAN,
    },
    ["usage", "model", "data", "object", "top_k", "return_input"],
    {
        "usage": _USED,
        "model": "v2-m3",
        "data": [{"index": 0, "score": 0.99826, "input": None, "object": "rank_result"}],
        "object": "list",
        "top_k": 1,
        "return_input": False,
    },
)
_VOYAGE = structure(
    "Ranked.",
    {
        "object": _LIST,
        "data": _ranked({**_RELEVANCE, "document": STRING}, "document"),
        "model": STRING,
        "usage": structure("Tokens read.", {"total_tokens": COUNT}, ["total_tokens"]),
    },
    ["object", "data", "model", "usage"],
    {
        "object": "list",
        "data": [{"index": 0, "relevance_score": 0.99826}],
        "model": "v2-m3",
        "usage": {"total_tokens": 22},
    },
)
_NIM = structure(
    "Ranked; `logit` is 0 to 1 unless raw scores were asked for.",
    {"rankings": _ranked({"index": COUNT, "logit": NUMBER}), "usage": ref("Usage")},
    ["rankings", "usage"],
    {
        "rankings": [{"index": 0, "logit": 0.99826}, {"index": 1, "logit": 0.00003}],
        "usage": _USED,
    },
)
_PINECONE = structure(
    "Ranked.",
    {
        "model": STRING,
        "data": _ranked({**_SCORE, "document": ref("Document")}, "document"),
        "usage": structure("What Pinecone would bill.", {"rerank_units": COUNT}, ["rerank_units"]),
    },
    ["model", "data", "usage"],
    {
        "model": "v2-m3",
        "data": [{"index": 0, "score": 0.99826, "document": {"text": "Paris is its capital."}}],
        "usage": {"rerank_units": 1},
    },
)
_DASHSCOPE = structure(
    "Ranked.",
    {
        "output": structure(
            "The ranking.",
            {"results": _ranked({**_RELEVANCE, "document": ref("Document")}, "document")},
            ["results"],
        ),
        "usage": structure("Tokens read.", {"total_tokens": COUNT}, ["total_tokens"]),
        "request_id": STRING,
    },
    ["output", "usage", "request_id"],
    {
        "output": {"results": [{"index": 0, "relevance_score": 0.99826}]},
        "usage": {"total_tokens": 22},
        "request_id": "6b1580ea00b6-7",
    },
)
_FORMATS: dict[str, Json] = {
    "NativeResponse": _NATIVE,
    "DocumentsResponse": _DOCUMENTS,
    "TeiResponse": _TEI,
    "PairsResponse": _PAIRS,
    "MixedbreadResponse": _MIXEDBREAD,
    "VoyageResponse": _VOYAGE,
    "NimResponse": _NIM,
    "PineconeResponse": _PINECONE,
    "DashscopeResponse": _DASHSCOPE,
}
ANSWERS: dict[str, Json] = {
    **_FORMATS,
    "ScoreResponse": {
        "description": "In the format of the request.",
        "anyOf": [ref(name) for name in _FORMATS],
    },
    "Usage": structure(
        "Tokens read.",
        {"prompt_tokens": COUNT, "total_tokens": COUNT},
        ["prompt_tokens", "total_tokens"],
    ),
}
"""By name; `ScoreResponse` is any of the formats."""

ERRORS: dict[str, Json] = {
    "NativeError": structure(
        "The server's own format.",
        {
            "error": structure(
                "What is wrong.",
                {"code": STRING, "message": STRING, "field": STRING},
                ["code", "message"],
            ),
            "request_id": STRING,
        },
        ["error", "request_id"],
    ),
    "ObjectError": structure(
        "What the clients of other services read.",
        {
            "error": structure(
                "What is wrong.",
                {"message": STRING, "type": STRING, "param": NAME, "code": COUNT},
                ["message", "type", "param", "code"],
            ),
            "message": STRING,
            "detail": STRING,
            "id": STRING,
        },
        ["error", "message", "detail", "id"],
    ),
    "TeiError": structure(
        "text-embeddings-inference.",
        {
            "error": STRING,
            "error_type": {"enum": ["validation", "empty", "overloaded", "unhealthy", "backend"]},
        },
        ["error", "error_type"],
    ),
    "DashscopeError": structure(
        "Alibaba's DashScope.",
        {"code": STRING, "message": STRING, "request_id": STRING},
        ["code", "message", "request_id"],
    ),
    "Error": {
        "description": "In the format of the request, or of the path if it has none yet.",
        "anyOf": [
            ref(name) for name in ("NativeError", "ObjectError", "TeiError", "DashscopeError")
        ],
    },
}
"""By name; `Error` is any of them."""
