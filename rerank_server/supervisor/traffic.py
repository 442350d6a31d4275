"""Who gets which share of the traffic now: a rollout, else the operator, else the config."""

from __future__ import annotations

from rerank_server.core.traffic import Arm, Traffic, guided
from rerank_server.supervisor.desired import Desired


class TrafficDesk:
    """Keeps the operator's word on traffic. Belongs to the loop."""

    def effective(self, desired: Desired, rollout: Arm | None = None) -> Traffic:
        """Return the shares to route by; `rollout` is what one under way gives its version."""
        return guided(desired.traffic, rollout)
