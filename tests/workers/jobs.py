"""Jobs for the scoring threads."""

from __future__ import annotations

from rerank_workers.jobs import Job


def request(number: int, *docs: str, query: str = "q") -> Job:
    """Return what a request asks of the scoring threads."""
    return Job(number, query, docs, 0.0)


def copy(number: int, *docs: str, query: str = "q", deadline: float | None = None) -> Job:
    """Return what a copy for comparison asks of them."""
    return Job(number, query, docs, 0.0, deadline, is_copy=True)
