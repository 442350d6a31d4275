"""The paths that are served plain and behind each version's endpoint, and what each is for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

SCORE_PATH = "/rerank"
"""The path without a version: header, body or the default choose."""


class Page(Enum):
    """What is done at a path."""

    SCORE = auto()
    """Score; before the body is read, errors are in the server's own format."""
    SCORE_OBJECT = auto()
    """Score at a path of other servers; before the body is read, errors are in their format."""
    INFO = auto()
    """This and what follows: described in the words of other servers."""
    MODELS = auto()
    AUTH = auto()
    OPENAPI = auto()
    DOCS = auto()


FOREIGN = frozenset((Page.SCORE_OBJECT, Page.INFO, Page.MODELS, Page.AUTH))
"""Pages that the clients of other servers ask for, and whose errors those must be able to read."""

PAGES: Mapping[str, Page] = MappingProxyType(
    {
        SCORE_PATH: Page.SCORE,
        "/v1/rerank": Page.SCORE_OBJECT,
        "/v2/rerank": Page.SCORE_OBJECT,
        "/reranking": Page.SCORE_OBJECT,
        "/v1/reranking": Page.SCORE_OBJECT,
        "/v1/ranking": Page.SCORE_OBJECT,
        "/score": Page.SCORE_OBJECT,
        "/v1/score": Page.SCORE_OBJECT,
        "/info": Page.INFO,
        "/v1/models": Page.MODELS,
        "/v1/cluster/auth": Page.AUTH,
        "/openapi.json": Page.OPENAPI,
        "/docs": Page.DOCS,
    }
)
"""Every path the routes table brings, plain and behind each version's endpoint.

Below `/v1/models` stands one more part, the model's name.
"""
