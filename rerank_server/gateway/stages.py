"""What an answer by a cascade tells of its stages, and what is counted of them."""

from __future__ import annotations

from collections.abc import Mapping

from rerank_server.gateway.answers import Headers
from rerank_server.gateway.dialect import Scores


def pruned(scores: Scores) -> Mapping[str, int]:
    """Return how many documents each stage that prunes took out, in the stages' order."""
    return {version: scores.stages.count(version) for version in scores.cascade[:-1]}


def stage_headers(scores: Scores) -> Headers:
    """Return the header that says how many documents each stage got and let through."""
    if not scores.stages:
        return []
    left, said = len(scores.stages), []
    for version, taken in pruned(scores).items():
        said.append(f"{version}:{left}>{left - taken}")
        left -= taken
    return [(b"x-rerank-cascade", "; ".join([*said, f"{scores.cascade[-1]}:{left}"]).encode())]
