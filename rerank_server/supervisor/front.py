"""The gateway's side of the loop: owns its state, decides purely, acts through its hands."""

from __future__ import annotations

import logging

from rerank_server.core.front import (
    Front,
    FrontAction,
    FrontEvent,
    FrontExited,
    FrontPolicy,
    FrontSpec,
    KillFront,
    RetireFront,
    StartFront,
    StopFront,
    apply_front,
    issue_front,
    next_front_deadline,
    reconcile_front,
)
from rerank_server.core.types import CameLate
from rerank_server.supervisor.gateway import Gateways
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.listeners import Listeners

log = logging.getLogger(__name__)


class FrontKeeper:
    """All gateway generations of this server. Methods belong to the loop's thread."""

    def __init__(self, gateways: Gateways, listeners: Listeners, journal: Journal) -> None:
        self._gateways = gateways
        self._listeners = listeners
        self._journal = journal
        self.front = Front()

    def absorb(self, event: FrontEvent | CameLate, now: float) -> None:
        """Take in what happened."""
        if isinstance(event, FrontExited):
            log.info("gateway exited", extra={"detail": event.detail})
            self._journal.note("gateway exited", detail=event.detail)
        self.front = apply_front(self.front, event, now)

    def decide(
        self, wanted: FrontSpec | None, now: float, policy: FrontPolicy
    ) -> list[FrontAction]:
        """Return what is due, as issued; it must be performed."""
        actions = reconcile_front(wanted, self.front, now, policy)
        for action in actions:
            self.front = issue_front(self.front, action, now)
        return actions

    def perform(self, action: FrontAction) -> None:
        """Carry out what was decided; what comes of it comes back as an event."""
        match action:
            case StartFront(generation, spec):
                self._gateways.start(generation, spec, self._listeners.of(spec))
            case RetireFront():
                pass  # routes.json tells it: a newer generation is published
            case StopFront(generation):
                self._gateways.stop(generation)
            case KillFront(generation):
                self._gateways.kill(generation)

    def close_unused(self, wanted: FrontSpec) -> None:
        """Close the listening sockets that neither `wanted` nor a living gateway uses."""
        self._listeners.keep_only({wanted, *(i.spec for i in self.front.instances)})

    def deadline(self, wanted: FrontSpec | None, policy: FrontPolicy) -> float | None:
        """Return when something may be due without an event."""
        return next_front_deadline(wanted, self.front, policy)
