"""When a replica leaves its card for the CPU, and when it comes back: one move a card at a time.

A move only changes a seat; the old process serves until one runs at the new place.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from rerank_server.core.devices import Gpu, Seat, spec_at
from rerank_server.core.memory import Scene, has_host_room, is_unsettled
from rerank_server.core.placement import allowed, best_card, choose
from rerank_server.core.routing import FallbackReason
from rerank_server.core.types import Failure, State
from rerank_server.core.wanted import MB, Degraded, GpuPolicy, WantedVersion

_STABLE_PERIODS = 10
"""On its card for so many times the wait for the way back: earlier falls are forgotten."""


def recover_delay(falls: int, policy: GpuPolicy) -> float:
    """Return how long there must be room before a replica that fell so often comes back."""
    doubled = policy.recover_after_s * 2.0 ** min(max(0, falls - 1), 32)
    return min(doubled, max(policy.recover_cap_s, policy.recover_after_s))


# --- what has happened to it --------------------------------------------------------------------


def follow(scene: Scene) -> Scene:
    """Return the scene after what has become of each replica where it is."""
    for version, replica, seat in list(scene.seats()):
        failure = _failure_at(scene, version, replica, seat)
        if seat.origin is not None:
            scene = _arrive(scene, version, replica, seat, failure)
        elif seat.gpu and failure is not None and failure.cause is not None:
            if scene.instance(version, replica, seat) is None:
                text = f"gpu {seat.index}: {_first_line(failure.reason)}"
                scene = _flee(scene, version, replica, seat, Degraded(failure.cause, text))
        elif seat.gpu and _is_lost(scene, seat):
            lost = Degraded(FallbackReason.GPU_ERROR, f"gpu {seat.index} is lost")
            scene = _flee(scene, version, replica, seat, lost)
        elif _is_stable(scene, seat):
            scene = scene.seated(version.name, replica, replace(seat, falls=0))
    return scene


def _failure_at(scene: Scene, version: WantedVersion, replica: int, seat: Seat) -> Failure | None:
    failure = scene.fleet.slot(version.name).failure
    at_fault = failure is not None and failure.spec == spec_at(version, replica, seat)
    return failure if at_fault else None


def _arrive(
    scene: Scene, version: WantedVersion, replica: int, seat: Seat, failure: Failure | None
) -> Scene:
    """End a move that has come to its end: well, or back at where it began."""
    assert seat.origin is not None, "a move has an origin"
    if scene.instance(version, replica, seat, State.RUNNING) is not None:
        return scene.seated(version.name, replica, replace(seat, origin=None, since=scene.now))
    if not seat.gpu and scene.instance(version, replica, seat.origin) is None:
        return scene.seated(version.name, replica, replace(seat, origin=None))  # no way back
    if failure is None or scene.instance(version, replica, seat) is not None:
        return scene
    falls = seat.falls + 1
    back = replace(
        seat.origin,
        falls=falls,
        retry_at=scene.now + recover_delay(falls, scene.policy),
        low_since=None,
        ample_since=None,
    )
    return scene.seated(version.name, replica, back)


def _flee(
    scene: Scene, version: WantedVersion, replica: int, seat: Seat, degraded: Degraded
) -> Scene:
    """Leave a card that failed: for another one with room, else for the CPU where allowed."""
    if scene.devices.placement(version.name).hand == "gpu":
        return scene
    elsewhere = choose(scene.seated(version.name, replica, None), version, but=seat.gpu)
    if isinstance(elsewhere, Seat) and elsewhere.gpu:
        return scene.seated(version.name, replica, replace(elsewhere, falls=seat.falls))
    if not version.wish.fallback_to_cpu or not has_host_room(version, scene.devices):
        return scene
    return _fall(scene, version, replica, seat, degraded)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _is_lost(scene: Scene, seat: Seat) -> bool:
    gpu = scene.devices.sight.gpu(seat.gpu)
    return gpu is not None and gpu.is_lost


def _is_stable(scene: Scene, seat: Seat) -> bool:
    long_s = _STABLE_PERIODS * scene.policy.recover_after_s
    return bool(seat.gpu) and seat.falls > 0 and scene.now - seat.since >= long_s


# --- moves for want or plenty of memory ---------------------------------------------------------


def shift(scene: Scene) -> Scene:
    """Return the scene with the moves that are due, at most one for each card."""
    for gpu in scene.devices.sight.gpus or ():
        scene = _relieve(scene, gpu)
    return _bring_back(scene)


def _relieve(scene: Scene, gpu: Gpu) -> Scene:
    """Move one replica off a card that has been short of memory for long enough."""
    is_busy = _is_busy(scene, gpu)
    due: list[tuple[WantedVersion, int, Seat]] = []
    for version, replica, seat in scene.seats_on(gpu):
        is_low = not is_busy and gpu.free_bytes < version.wish.threshold_bytes
        low_since = (scene.now if seat.low_since is None else seat.low_since) if is_low else None
        if low_since != seat.low_since:
            seat = replace(seat, low_since=low_since)  # noqa: PLW2901 the seat as it is now
            scene = scene.seated(version.name, replica, seat)
        if low_since is not None and _may_leave(scene, version, seat, low_since):
            due.append((version, replica, seat))
    if not due or not _has_cooled(scene, gpu):
        return scene
    # Last in config order first, the default last of all.
    version, replica, seat = min(
        reversed(due), key=lambda found: scene.wanted.is_default(found[0].name)
    )
    text = (
        f"{gpu.label} has {gpu.free_bytes // MB} MB free, "
        f"needs {version.wish.threshold_bytes // MB}"
    )
    return _fall(scene, version, replica, seat, Degraded(FallbackReason.GPU_MEMORY, text))


def _may_leave(scene: Scene, version: WantedVersion, seat: Seat, low_since: float) -> bool:
    has_waited = scene.now - low_since >= scene.policy.pressure_after_s
    is_free = scene.devices.placement(version.name).hand == "auto" and scene.now >= seat.retry_at
    can = version.wish.fallback_to_cpu and has_host_room(version, scene.devices)
    return has_waited and is_free and can


def _bring_back(scene: Scene) -> Scene:
    """Move replicas back to cards that have had room for them for long enough: default first."""
    seats = [(v, n, s) for v, n, s in scene.seats() if s.degraded is not None and s.origin is None]
    for version, replica, seat in sorted(
        seats, key=lambda found: not scene.wanted.is_default(found[0].name)
    ):
        gpu = _ample_card(scene, version)
        since = None
        if gpu is not None:
            since = scene.now if seat.ample_since is None else seat.ample_since
        waiting = replace(seat, ample_since=since)
        if waiting != seat:
            scene = scene.seated(version.name, replica, waiting)
        if gpu is None or since is None or scene.now < seat.retry_at:
            continue
        is_due = scene.now - since >= recover_delay(seat.falls, scene.policy)
        if is_due and _has_cooled(scene, gpu):
            back = Seat(gpu.uuid, gpu.index, since=scene.now, origin=waiting, falls=seat.falls)
            scene = _touch(scene.seated(version.name, replica, back), gpu.uuid)
    return scene


def _ample_card(scene: Scene, version: WantedVersion) -> Gpu | None:
    cards = allowed(version.wish, scene.devices.sight.gpus or ())
    calm = [gpu for gpu in cards if not gpu.is_lost and not _is_busy(scene, gpu)]
    return best_card(scene, version, calm, margin_bytes=scene.policy.recover_margin_bytes)


def _is_busy(scene: Scene, gpu: Gpu) -> bool:
    """Tell whether a move to or from this card, or a start on it, has not come to its end."""
    if gpu.is_lost or is_unsettled(scene, gpu):
        return True
    under_way = [seat for _, _, seat in scene.seats() if seat.origin is not None]
    return any(gpu.uuid in (s.gpu, s.origin.gpu) for s in under_way if s.origin is not None)


def _has_cooled(scene: Scene, gpu: Gpu) -> bool:
    moved_at = scene.devices.moved_at.get(gpu.uuid)
    return moved_at is None or scene.now - moved_at >= scene.policy.cool_down_s


def _fall(
    scene: Scene, version: WantedVersion, replica: int, seat: Seat, degraded: Degraded
) -> Scene:
    """Place a replica on the CPU, and count that."""
    serves = scene.instance(version, replica, seat, State.RUNNING) is not None
    cpu = Seat(
        since=scene.now,
        degraded=degraded,
        is_stand_in=True,
        origin=replace(seat, low_since=None) if serves else None,
        falls=seat.falls + 1,
    )
    placement = scene.devices.placement(version.name)
    moves = {**placement.moves, degraded.reason: placement.moves.get(degraded.reason, 0) + 1}
    placement = replace(placement, moves=MappingProxyType(moves))
    scene = scene.with_devices(scene.devices.with_placement(version.name, placement))
    return _touch(scene.seated(version.name, replica, cpu), seat.gpu)


def _touch(scene: Scene, gpu: str) -> Scene:
    """Note that a card has just had a move."""
    moved_at = MappingProxyType({**scene.devices.moved_at, gpu: scene.now})
    return scene.with_devices(replace(scene.devices, moved_at=moved_at))
