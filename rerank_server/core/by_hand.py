"""Whether a person may move a version as asked."""

from __future__ import annotations

from typing import TypeGuard, get_args

from rerank_server.core.devices import Hand
from rerank_server.core.memory import Scene, has_host_room
from rerank_server.core.placement import allowed, best_card, host_shortage, shortage
from rerank_server.core.wanted import Wanted


def is_hand(word: str | None) -> TypeGuard[Hand]:
    """Tell whether a version can be moved there at all: cpu, gpu, or auto for "by the rules"."""
    return word in get_args(Hand)


def no_process(wanted: Wanted, name: str | None) -> str | None:
    """Return why `name` has no process to do anything to: it is a cascade; None if it is none."""
    version = wanted.versions.get(name or "")
    if version is None or not version.cascade:
        return None
    stages = ", ".join(stage.version for stage in version.cascade)
    return f"{name} is a cascade and has no process of its own; name one of its stages: {stages}"


def disabled(wanted: Wanted, name: str | None) -> str | None:
    """Return why there is nothing to try again: `name` is disabled; None if it is not."""
    version = wanted.versions.get(name or "")
    if version is None or version.enabled:
        return None
    return f"{name} is disabled; set versions.{name}.enabled to true, then reload"


def refusal(scene: Scene, name: str, hand: str | None) -> str | None:
    """Return why a version cannot be moved there, in one sentence; None when it can."""
    devices = scene.devices
    version = scene.wanted.versions[name]
    if not is_hand(hand):
        return f"{hand!r} is no place to move to; there are {', '.join(get_args(Hand))}"
    if not devices.sight.gpus:
        return "this host has no GPU to move a version to or from"
    if not version.enabled or version.spec is None:
        return f"{name} is not running; {version.problem or 'it is disabled'}"
    if hand == "cpu" and not has_host_room(version, devices):
        return host_shortage(version, devices)
    is_there = any(seat is not None and seat.gpu for seat in devices.placement(name).seats)
    if hand != "gpu" or is_there:
        return None
    cards = [gpu for gpu in allowed(version.wish, devices.sight.gpus) if not gpu.is_lost]
    if not cards:
        return f"no GPU for device: {version.wish.device}"
    return None if best_card(scene, version, cards) is not None else shortage(scene, version, cards)
