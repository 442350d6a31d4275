"""Which dialect a body is written in."""

from __future__ import annotations

from collections.abc import Mapping

from rerank_server.gateway.dialect import Dialect
from rerank_server.gateway.dialects import pairs, voyage
from rerank_server.gateway.dialects.mixedbread import MIXEDBREAD
from rerank_server.gateway.dialects.nim import NIM
from rerank_server.gateway.dialects.pairs import PAIRS
from rerank_server.gateway.dialects.superset import SUPERSET
from rerank_server.gateway.dialects.tei import TEI
from rerank_server.gateway.dialects.voyage import VOYAGE
from rerank_server.gateway.native import NATIVE


def pick(body: Mapping[str, object], otherwise: Dialect) -> Dialect:
    """Return the dialect by the key that holds the documents; a key with null is not there.

    `otherwise` is that of the path, for a body that holds none.
    """
    if body.get("docs") is not None:
        return NATIVE
    if body.get("texts") is not None:
        return TEI
    if any(body.get(key) is not None for key in pairs.LEFT):
        return PAIRS
    if body.get("documents") is not None:
        is_voyage = (
            any(body.get(key) is not None for key in voyage.SIGNS) and body.get("top_n") is None
        )
        return VOYAGE if is_voyage else SUPERSET
    if body.get("passages") is not None:
        return NIM
    if body.get("input") is not None:
        return MIXEDBREAD
    return otherwise
