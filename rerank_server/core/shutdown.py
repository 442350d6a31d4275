"""How a server ends within its time: not ready, then the gateway, then the workers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rerank_server.core.wanted import Policy


@dataclass(frozen=True, slots=True)
class Shutdown:
    """One shutdown under way. Times are monotonic seconds."""

    began_at: float
    delay_s: float
    """Not ready, but still accepting: time for a load balancer to notice."""
    timeout_s: float
    """For all after the delay: half for the gateway's requests in flight, half for workers."""
    is_hurried: bool = False
    """Told to stop a second time: nothing is waited for."""

    @property
    def gateway_ends_at(self) -> float:
        """When the gateway is told to finish what is in flight."""
        return self.began_at if self.is_hurried else self.began_at + self.delay_s

    @property
    def gateway_timeout_s(self) -> float:
        """How long the gateway may take to finish."""
        return 0.0 if self.is_hurried else self.timeout_s / 2

    def shorten(self, policy: Policy) -> Policy:
        """Return the policy with its drains and stops fitted into the time that is left."""
        if self.is_hurried:
            return replace(policy, drain_timeout_s=0.0, stop_grace_s=0.5)
        half_s = self.timeout_s / 2
        grace_s = min(policy.stop_grace_s, half_s / 2)
        drain_s = min(policy.drain_timeout_s, half_s - grace_s)
        return replace(policy, drain_timeout_s=drain_s, stop_grace_s=grace_s)
