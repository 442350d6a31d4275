"""Gateways for tests, and what is due for them."""

from __future__ import annotations

from dataclasses import replace

from rerank_server.core.front import (
    Front,
    FrontAction,
    FrontExited,
    FrontInstance,
    FrontPolicy,
    FrontSpec,
    FrontState,
    apply_front,
    issue_front,
    reconcile_front,
)

SPEC = FrontSpec(
    host="127.0.0.1",
    port=8000,
    processes=1,
    log_format="console",
    log_level="info",
)
POLICY = FrontPolicy(stop_timeout_s=45.0, keep_alive_s=30.0)
MORE = replace(SPEC, processes=4)
LATE = "the gateway did not boot within 30 s"


def gateway(
    state: FrontState, spec: FrontSpec = SPEC, generation: int = 1, at: float = 0.0
) -> FrontInstance:
    """Return a gateway that entered its state `at`."""
    return FrontInstance(generation, spec, state, at, pid=4000 + generation)


def front(*instances: FrontInstance) -> Front:
    """Return these gateways, of which the highest generation is the last."""
    return Front(instances, serial=max((i.generation for i in instances), default=0))


def due(wanted: FrontSpec | None, front: Front, now: float = 0.0) -> list[FrontAction]:
    """Return what is to be done now."""
    return reconcile_front(wanted, front, now, POLICY)


def carry_on(wanted: FrontSpec | None, front: Front, now: float) -> Front:
    """Decide and issue until nothing is new, as the supervisor's loop does."""
    for _ in range(20):
        actions = due(wanted, front, now)
        if not actions:
            return front
        for action in actions:
            front = issue_front(front, action, now)
    raise AssertionError("never comes to rest")


def crash(front: Front, generation: int, now: float) -> Front:
    """Let a gateway end by itself."""
    return apply_front(front, FrontExited(generation, "exited with code 1"), now)
