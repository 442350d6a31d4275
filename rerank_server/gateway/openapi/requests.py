"""Schemas of what is accepted, format by format."""

from __future__ import annotations

from dataclasses import dataclass

from rerank_server.gateway.openapi.words import (
    FLAG,
    FLAG_SCHEMA,
    NAME,
    STRING,
    Json,
    array,
    ref,
    structure,
)

QUERY = "capital of France"
DOCS = ["Paris is its capital.", "Rome is in Italy."]

_MODEL: Json = {
    **NAME,
    "description": "A version's name selects it; anything else means the default.",
}
_TOP: Json = {
    "type": ["integer", "null"],
    "minimum": 0,
    "description": "Most results, best first; 0 and null mean all.",
}
_RAW: Json = {**FLAG, "description": "Ask for the model's raw scores; else 0 to 1."}
_UNCUT: Json = {**FLAG, "description": "false: refuse documents that do not fit."}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the server takes at most.

    Said in words: what is over a limit is well-formed, and is refused by its size, with 413. As
    maxItems and maxLength it would be called invalid, which is another answer.
    """

    docs: int
    chars: int
    """Of one document, and of the query."""

    @property
    def text(self) -> Json:
        """The schema of a document's text."""
        return {**STRING, "description": f"At most {self.chars} characters."}

    @property
    def query(self) -> Json:
        """The schema of a query."""
        about = f"What the documents are scored for; at most {self.chars} characters."
        return {**STRING, "minLength": 1, "description": about}

    @property
    def documents(self) -> Json:
        """The schema of documents, each a string or an object with text."""
        return array({"anyOf": [self.text, ref("Document")]}, description=self.most)

    @property
    def most(self) -> str:
        """How many documents a request may have."""
        return f"At most {self.docs}."


def requests(bounds: Bounds) -> dict[str, Json]:
    """Return the schemas of the bodies, by name; `ScoreRequest` is any of them."""
    found = {
        "NativeRequest": _native(bounds),
        "DocumentsRequest": _documents(bounds),
        "TeiRequest": _tei(bounds),
        "PairsRequest": _pairs(bounds),
        "VoyageRequest": _voyage(bounds),
        "MixedbreadRequest": _mixedbread(bounds),
        "NimRequest": _nim(bounds),
        "DashscopeRequest": _dashscope(bounds),
    }
    any_of_them: Json = {
        "description": "Any of the formats, at any path: the key that holds the documents tells.",
        "anyOf": [ref(name) for name in found],
    }
    document = structure("A document.", {"text": bounds.text}, ["text"])
    return {
        "Flag": FLAG_SCHEMA,
        "Document": document,
        **found,
        "ScoreRequest": any_of_them,
    }


def _native(bounds: Bounds) -> Json:
    return structure(
        "The server's own format.",
        {
            "query": bounds.query,
            "docs": array(bounds.text, description=bounds.most),
            "model": _MODEL,
            "top_n": {**_TOP, "minimum": 1, "description": "Most results, best first."},
            "return_docs": {**FLAG, "description": "Add each document to its result."},
            "raw_scores": _RAW,
        },
        ["query", "docs"],
        {"query": QUERY, "docs": DOCS},
    )


def _documents(bounds: Bounds) -> Json:
    # That what rank_fields names must be strings, in each document, no schema can say; nor is a
    # document wrong for other fields that are none.
    return structure(
        "Cohere (v1 and v2), Jina, vLLM, Xinference, llama.cpp, Infinity; Pinecone, which brings "
        "the header X-Pinecone-API-Version, and is answered in its own format. `rank_fields`, a "
        "list of names, tells which fields of documents that are objects are scored; those must "
        "be strings.",
        {
            "query": bounds.query,
            "documents": bounds.documents,
            "model": _MODEL,
            "top_n": _TOP,
            "return_documents": FLAG,
            "raw_scores": _RAW,
            "use_activation": {**FLAG, "description": "false: raw scores (vLLM)."},
            "normalize": {**FLAG, "description": "false: raw scores."},
        },
        ["query", "documents"],
        {"model": "rerank-v3.5", "query": QUERY, "documents": DOCS, "top_n": 1},
    )


def _tei(bounds: Bounds) -> Json:
    return structure(
        "text-embeddings-inference.",
        {
            "query": bounds.query,
            "texts": {**bounds.documents, "minItems": 1},
            "model": _MODEL,
            "raw_scores": _RAW,
            "return_text": FLAG,
            "truncate": _UNCUT,
            "truncation_direction": {"enum": ["Right", "Left", None]},
        },
        ["query", "texts"],
        {"query": QUERY, "texts": DOCS, "return_text": True},
    )


def _pairs(bounds: Bounds) -> Json:
    # As many queries as documents are taken, too; that two lists are of one length no schema can
    # say, and one that says less or more than that misleads those who test or validate by it.
    return structure(
        "vLLM's /score. `queries` may also be a list, of one query or of one for each document. "
        "The two sides may also be called text_1 and text_2.",
        {
            "queries": bounds.query,
            "documents": {"anyOf": [bounds.text, bounds.documents]},
            "model": _MODEL,
            "use_activation": {**FLAG, "description": "false: raw scores."},
        },
        ["queries", "documents"],
        {"queries": QUERY, "documents": DOCS},
    )


def _voyage(bounds: Bounds) -> Json:
    return structure(
        "Voyage: documents with top_k.",
        {
            "query": bounds.query,
            "documents": bounds.documents,
            "top_k": {**_TOP, "type": "integer"},
            "model": _MODEL,
            "return_documents": FLAG,
            "truncation": _UNCUT,
            "raw_scores": _RAW,
        },
        ["query", "documents", "top_k"],
        {"model": "rerank-2", "query": QUERY, "documents": DOCS, "top_k": 1},
    )


def _mixedbread(bounds: Bounds) -> Json:
    return structure(
        "mixedbread.",
        {
            "query": bounds.query,
            "input": bounds.documents,
            "top_k": _TOP,
            "model": _MODEL,
            "return_input": FLAG,
            "raw_scores": _RAW,
        },
        ["query", "input"],
        {"query": QUERY, "input": DOCS, "top_k": 1},
    )


def _nim(bounds: Bounds) -> Json:
    query = structure("The query.", {"text": bounds.query}, ["text"])
    return structure(
        "NVIDIA's reranking NIM.",
        {
            "query": {"anyOf": [bounds.query, query]},
            "passages": bounds.documents,
            "top_k": _TOP,
            "model": _MODEL,
            "truncate": {"enum": ["END", "NONE", "START", None]},
            "raw_scores": _RAW,
        },
        ["query", "passages"],
        {"query": {"text": QUERY}, "passages": [{"text": doc} for doc in DOCS]},
    )


def _dashscope(bounds: Bounds) -> Json:
    asked = structure(
        "What is asked.",
        {"query": bounds.query, "documents": bounds.documents},
        ["query", "documents"],
    )
    parameters: Json = {
        "type": ["object", "null"],
        "properties": {"top_n": _TOP, "return_documents": FLAG, "raw_scores": _RAW},
    }
    return structure(
        "Alibaba's DashScope.",
        {"model": _MODEL, "input": asked, "parameters": parameters},
        ["input"],
        {
            "model": "gte-rerank-v2",
            "input": {"query": QUERY, "documents": DOCS},
            "parameters": {"top_n": 1},
        },
    )
