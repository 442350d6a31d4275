"""What a fleet remembers of the failures of v1."""

from __future__ import annotations

from rerank_server.core.types import Failure, Fleet
from rerank_server.core.wanted import Policy

POLICY = Policy(failure_limit=3, failure_window_s=600.0, stable_s=60.0)


def failure_of(fleet: Fleet) -> Failure:
    """Return why v1 does not run."""
    found = fleet.slot("v1").failure
    assert found is not None
    return found


def is_waiting(fleet: Fleet, now: float) -> bool:
    """Tell whether v1 is in BACKOFF."""
    retry_at = failure_of(fleet).retry_at
    return retry_at is not None and retry_at > now
