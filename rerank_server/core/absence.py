"""Why a version does not answer, or not where it should: the reasons that routes.json gives."""

from __future__ import annotations

from rerank_server.core.routing import FallbackReason
from rerank_server.core.served import serves
from rerank_server.core.types import Fleet, Slot, State
from rerank_server.core.wanted import Degraded, Wanted, WantedVersion


def absence_of(wanted: Wanted, fleet: Fleet, version: WantedVersion) -> FallbackReason | None:
    """Return why the version is not answered for; of a cascade by its first stage that is not."""
    if serves(fleet, version.name):
        return None
    if version.enabled:
        for stage in version.cascade:
            own = wanted.versions.get(stage.version)
            if own is not None and not serves(fleet, own.name):
                return absent(own, fleet.slot(own.name))
    return absent(version, fleet.slot(version.name))


def degraded_of(wanted: Wanted, fleet: Fleet, version: WantedVersion) -> Degraded | None:
    """Return why the version, or a stage of it, answers from the CPU against its wish."""
    stages = fleet.cascades.get(version.name, ())
    owns = [wanted.versions[s.version] for s in stages if s.version in wanted.versions] or [version]
    found = (degraded(own, fleet.slot(own.name)) for own in owns)
    return next((why for why in found if why is not None), None)


def absent(version: WantedVersion, slot: Slot) -> FallbackReason | None:
    """Return why the version has no process that answers, or None when it has one."""
    states = {i.state for i in slot.instances}
    if State.RUNNING in states:
        return None
    if any(i.doom is not None and i.ready_at is not None for i in slot.instances):
        return FallbackReason.HUNG  # nothing else ends a worker that was ready
    if State.STARTING in states:
        return FallbackReason.STARTING
    if State.DRAINING in states:
        return FallbackReason.DRAINING
    if not version.enabled:
        return FallbackReason.DISABLED
    if version.problem is not None:
        return version.lack or FallbackReason.FAILED
    failure = slot.failure_of(*version.specs)
    if failure is None:
        return FallbackReason.STARTING
    if failure.cause is not None:
        return failure.cause
    return FallbackReason.FAILED if failure.retry_at is None else FallbackReason.BACKOFF


def degraded(version: WantedVersion, slot: Slot) -> Degraded | None:
    """Return why the version answers from the CPU against its wish; None while it does not."""
    running = [i.spec for i in slot.instances if i.state is State.RUNNING]
    placed = {spec.replica for spec in running if spec.gpu and spec in version.specs}
    on_cpu = any(not spec.gpu and spec.replica not in placed for spec in running)
    return version.degraded if on_cpu else None
