"""What an answer by a cascade tells of its stages, and what is counted of them."""

from __future__ import annotations

from collections.abc import Mapping

from rerank_server.gateway.answers import Headers
from rerank_server.gateway.dialect import Scores


def pruned(scores: Scores) -> Mapping[str, int]:
    """Return how many documents each stage that prunes took out, in the stages' order."""
    passed = zip(scores.cascade, scores.passed, strict=True)
    return {version: got - left for version, (got, left) in list(passed)[:-1]}


def stage_headers(scores: Scores) -> Headers:
    """Return the header that says how many documents each stage got and let through."""
    if not scores.stages:
        return []
    passed = list(zip(scores.cascade, scores.passed, strict=True))
    said = [f"{version}:{got}>{left}" for version, (got, left) in passed[:-1]]
    last, (got, _) = passed[-1]
    return [(b"x-rerank-cascade", "; ".join([*said, f"{last}:{got}"]).encode())]
