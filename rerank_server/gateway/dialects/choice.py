"""Which dialect a body is written in."""

from __future__ import annotations

from collections.abc import Mapping

from rerank_server.gateway.dialect import Dialect
from rerank_server.gateway.dialects import pairs, pinecone, voyage
from rerank_server.gateway.dialects.dashscope import DASHSCOPE
from rerank_server.gateway.dialects.mixedbread import MIXEDBREAD
from rerank_server.gateway.dialects.nim import NIM
from rerank_server.gateway.dialects.pairs import PAIRS
from rerank_server.gateway.dialects.pinecone import PINECONE
from rerank_server.gateway.dialects.superset import BARE, BARE_SUPERSET, SUPERSET
from rerank_server.gateway.dialects.tei import TEI
from rerank_server.gateway.dialects.voyage import VOYAGE
from rerank_server.gateway.native import NATIVE

_NO_HEADERS: Mapping[bytes, bytes] = {}


def pick(
    body: Mapping[str, object], otherwise: Dialect, headers: Mapping[bytes, bytes] = _NO_HEADERS
) -> Dialect:
    """Return the dialect by the key that holds the documents; a key with null is not there.

    `otherwise` is that of the path, for a body that holds none. Header names are in lower case.
    """
    if body.get("docs") is not None:
        return NATIVE
    if body.get("texts") is not None:
        return TEI
    if any(body.get(key) is not None for key in pairs.LEFT):
        return PAIRS
    if body.get("documents") is not None:
        return PINECONE if pinecone.SIGN in headers else _of_documents(body)
    if body.get("passages") is not None:
        return NIM
    if body.get("input") is not None:
        return DASHSCOPE if isinstance(body["input"], dict) else MIXEDBREAD
    return otherwise


def _of_documents(body: Mapping[str, object]) -> Dialect:
    if body.keys() <= BARE:
        return BARE_SUPERSET
    is_voyage = any(body.get(key) is not None for key in voyage.SIGNS)
    return VOYAGE if is_voyage and body.get("top_n") is None else SUPERSET
