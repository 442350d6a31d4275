"""Which card each replica gets, or the CPU: decided when it has no seat, kept until it must move.

`reconcile` then starts, replaces and drains as for any other change of a spec.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from rerank_server.core.devices import Devices, Gpu, Placement, Seat, spec_at
from rerank_server.core.memory import (
    Scene,
    card_need,
    has_host_room,
    host_need,
    is_given_up,
    is_stale,
    is_unsettled,
    kept_free,
    room,
)
from rerank_server.core.routing import FallbackReason
from rerank_server.core.types import State
from rerank_server.core.wanted import MB, Degraded, WantedVersion, Wish

SILENT = "the GPU driver does not answer"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing can be decided yet."""

    text: str


@dataclass(frozen=True, slots=True)
class Short:
    """No device will do."""

    why: Degraded


Choice = Seat | Waiting | Short


def seat_all(scene: Scene) -> Scene:
    """Return the scene with every replica placed that can be, in config order.

    Replicas that run, or load, stay where they are. The others are placed anew each time, on
    the same card if it still has room for them.
    """
    unstarted: list[tuple[WantedVersion, int, Seat]] = []
    for version, replica, seat in list(scene.seats()):
        is_pinned = not seat.gpu or scene.instance(version, replica, seat) is not None
        if not is_pinned and not _is_blocked(scene, version, replica, seat):
            unstarted.append((version, replica, seat))
            scene = scene.seated(version.name, replica, None)
    old = {(version.name, replica): seat for version, replica, seat in unstarted}
    for version in scene.versions():
        scene = _seat_version(scene, version, old)
    return scene


def _seat_version(scene: Scene, version: WantedVersion, old: dict[tuple[str, int], Seat]) -> Scene:
    waits: str | None = None
    problem: Degraded | None = None
    for replica in range(version.replicas):
        if scene.devices.placement(version.name).seat(replica) is not None:
            continue
        before = old.get((version.name, replica))
        choice = choose(scene, version, prefer=before.gpu if before is not None else "")
        match choice:
            case Seat():
                scene = scene.seated(version.name, replica, _carried(choice, before))
            case Waiting(text):
                waits = text
            case Short(why):
                problem = why
            case _:
                assert_never(choice)
    placement = replace(scene.devices.placement(version.name), waits=waits, problem=problem)
    scene = scene.with_devices(scene.devices.with_placement(version.name, placement))
    gated = _gate(scene, version)
    return scene.with_devices(scene.devices.with_placement(version.name, gated))


def _carried(choice: Seat, before: Seat | None) -> Seat:
    """Return the chosen seat with the history of the one it takes the place of."""
    if before is None:
        return choice
    if before.origin is not None and not choice.gpu:
        return replace(before.origin, ample_since=None)  # the way back is closed again
    return replace(choice, origin=before.origin, falls=before.falls, retry_at=before.retry_at)


# --- one choice ---------------------------------------------------------------------------------


def choose(
    scene: Scene, version: WantedVersion, *, prefer: str = "", but: str | None = None
) -> Choice:
    """Return the seat for one replica of `version`: the card with most room that fits, or else.

    `prefer` names a card that is taken if it fits at all, `but` one that is out of the question.
    """
    hand = scene.devices.placement(version.name).hand
    wish = version.wish
    if hand == "cpu" or (wish.device == "cpu" and hand != "gpu"):
        return Seat(since=scene.now, is_stand_in=wish.device != "cpu")
    sight = scene.devices.sight
    if sight.gpus is None or (sight.gpus and is_stale(scene)):
        if sight.trouble is None and not is_given_up(scene):
            return Waiting("looking at the GPUs")
        return _without(scene, version, FallbackReason.GPU_ERROR, sight.trouble or SILENT)
    if not sight.gpus and wish.device == "auto":
        return Seat(since=scene.now)
    cards = [gpu for gpu in allowed(wish, sight.gpus) if gpu.uuid != but]
    alive = [gpu for gpu in cards if not gpu.is_lost]
    if not alive:
        why = _none_alive(wish, sight.gpus, cards)
        return _without(scene, version, FallbackReason.GPU_ERROR, why)
    best = best_card(scene, version, alive, prefer=prefer)
    if best is not None:
        return Seat(best.uuid, best.index, since=scene.now)
    if any(is_unsettled(scene, gpu) for gpu in alive):
        return Waiting("memory of a GPU is about to be returned or taken")
    return _without(scene, version, FallbackReason.GPU_MEMORY, shortage(scene, version, alive))


def best_card(
    scene: Scene,
    version: WantedVersion,
    cards: list[Gpu],
    *,
    prefer: str = "",
    margin_bytes: int = 0,
) -> Gpu | None:
    """Return the card with most room for one more process, if any has enough."""
    need = card_need(version, scene.devices) + margin_bytes
    fitting = [g for g in cards if room(scene, g) >= need + kept_free(scene, g, version)]
    return max(fitting, key=lambda g: (g.uuid == prefer, room(scene, g), -g.index), default=None)


def allowed(wish: Wish, gpus: tuple[Gpu, ...]) -> list[Gpu]:
    """Return the cards that a version may run on."""
    _, _, number = wish.device.partition(":")
    return [gpu for gpu in gpus if not number or gpu.index == int(number)]


def shortage(scene: Scene, version: WantedVersion, cards: list[Gpu]) -> str:
    """Say what is needed and what there is: `gpu 0 has 900 MB free, needs 1500`."""
    need = card_need(version, scene.devices)
    free = [f"{gpu.label} has {max(0, room(scene, gpu)) // MB} MB free" for gpu in cards]
    most = max(need + kept_free(scene, gpu, version) for gpu in cards)
    return f"{', '.join(free)}, needs {most // MB}"


def _without(scene: Scene, version: WantedVersion, reason: FallbackReason, text: str) -> Choice:
    """Return the CPU in place of a card, where that is allowed and possible."""
    # A driver that is silent may have no card at all; a version that runs anywhere then does.
    is_anywhere = version.wish.device == "auto" and reason is FallbackReason.GPU_ERROR
    if not version.wish.fallback_to_cpu and not is_anywhere:
        hint = "" if reason is FallbackReason.GPU_ERROR else "; or set fallback_to_cpu: true"
        return Short(Degraded(reason, text + hint))
    if not has_host_room(version, scene.devices):
        why = f"{text}; and {host_shortage(version, scene.devices)}"
        return Short(Degraded(reason, why))
    return Seat(since=scene.now, degraded=Degraded(reason, text), is_stand_in=True)


def host_shortage(version: WantedVersion, devices: Devices) -> str:
    """Say that main memory does not suffice for a process on the CPU."""
    free = (devices.sight.host_free_bytes or 0) // MB
    return f"the host has {free} MB free, the CPU needs {host_need(version, devices) // MB}"


def _none_alive(wish: Wish, gpus: tuple[Gpu, ...], cards: list[Gpu]) -> str:
    if cards:
        return f"{cards[0].label} is lost"
    if not gpus:
        return f"device {wish.device}: this host has no GPU"
    last = gpus[-1].index
    return f"device {wish.device} not found; this host has cuda:0" + (f"-{last}" if last else "")


# --- seats that stay ----------------------------------------------------------------------------


def keep_valid(scene: Scene) -> Scene:
    """Return the scene without the seats that what is wanted does not allow any more."""
    names = [*scene.wanted.versions, *scene.devices.placements]
    devices = scene.devices
    for name in dict.fromkeys(names):
        placement = devices.placement(name)
        version = scene.wanted.versions.get(name)
        if version is None or not version.enabled:
            fresh = Placement(moves=placement.moves)
        elif version.spec is None:
            fresh = replace(placement, problem=None, waits=None)
        else:
            kept = (placement.seat(n) for n in range(version.replicas))
            seats = [s if s and is_valid(s, version, placement, devices) else None for s in kept]
            fresh = replace(placement, seats=tuple(seats))
        if fresh != placement:
            devices = devices.with_placement(name, fresh)
    return scene.with_devices(devices)


def is_valid(seat: Seat, version: WantedVersion, placement: Placement, devices: Devices) -> bool:
    """Tell whether a version may stay on this seat by its config and a person's hand."""
    wish, hand, gpus = version.wish, placement.hand, devices.sight.gpus or ()
    wants_cpu = hand == "cpu" or (wish.device == "cpu" and hand != "gpu")
    if seat.gpu:
        return not wants_cpu and any(gpu.uuid == seat.gpu for gpu in allowed(wish, gpus))
    if seat.degraded is not None:
        return not wants_cpu
    if seat.is_stand_in:
        return hand == "cpu" and wish.device != "cpu"
    return wish.device == "cpu" if wants_cpu else (wish.device == "auto" and not gpus)


# --- what may be started now --------------------------------------------------------------------


def _is_blocked(scene: Scene, version: WantedVersion, replica: int, seat: Seat) -> bool:
    """Tell whether a replica that is not started keeps its card without another look at it."""
    gpu = scene.devices.sight.gpu(seat.gpu)
    if gpu is None or gpu.is_lost:
        return False
    # A driver that was given up can measure nothing, but the card may be well.
    if is_given_up(scene) or is_unsettled(scene, gpu):
        return True
    return _predecessor(scene, version, replica, seat)


def _predecessor(scene: Scene, version: WantedVersion, replica: int, seat: Seat) -> bool:
    """Tell whether another process of the same replica runs on the same card."""
    slot = scene.fleet.slot(version.name)
    return any(
        i.spec.replica == replica and i.spec.gpu == seat.gpu and i.state is State.RUNNING
        for i in slot.instances
        if i.spec != spec_at(version, replica, seat)
    )


def _gate(scene: Scene, version: WantedVersion) -> Placement:
    """Return the placement with which replicas must not start now, or only after another ended."""
    placement = scene.devices.placement(version.name)
    held: set[int] = set()
    is_crowded = False
    problem = placement.problem
    for replica, seat in enumerate(placement.seats):
        if seat is None or not seat.gpu or scene.instance(version, replica, seat) is not None:
            continue
        gpu = scene.devices.sight.gpu(seat.gpu)
        if gpu is None or is_given_up(scene):
            continue
        if is_unsettled(scene, gpu):
            held.add(replica)
        elif _predecessor(scene, version, replica, seat) and room(scene, gpu) < 0:
            is_crowded = True
            if version.replace == "overlap":
                held.add(replica)
                needs = card_need(version, scene.devices) // MB
                free = gpu.free_bytes // MB
                text = f"{gpu.label} has {free} MB free, needs {needs} beside the process it "
                text += "replaces; set replace: stop_first"
                problem = Degraded(FallbackReason.GPU_MEMORY, text)
    return replace(placement, problem=problem, held=frozenset(held), is_crowded=is_crowded)
