"""What a look at the cards changes in the fleet, and how placement's times move with the clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from rerank_server.core.devices import Devices, Seat, Sight
from rerank_server.core.memory import learn
from rerank_server.core.types import Fleet, Instance, State


def see(fleet: Fleet, sight: Sight) -> Fleet:
    """Return the fleet after a look at the cards; trouble leaves what was seen before."""
    known = fleet.devices.sight
    if sight.trouble is not None and known.gpus:
        sight = replace(known, trouble=sight.trouble, host_free_bytes=sight.host_free_bytes)
    elif sight.trouble is not None and known.gpus is None:
        sight = replace(sight, at=known.at)
    devices = replace(fleet.devices, sight=sight)
    slots = dict(fleet.slots)
    for name, slot in fleet.slots.items():
        instances = tuple(_measured(i, sight) for i in slot.instances)
        for instance in instances:
            if instance.state is State.RUNNING and instance.spec.gpu:
                devices = learn(devices, instance.spec, instance.gpu_memory_bytes)
        slots[name] = replace(slot, instances=instances)
    return replace(fleet, slots=MappingProxyType(slots), devices=devices)


def _measured(instance: Instance, sight: Sight) -> Instance:
    """Return the instance with the driver's own figure of what it takes, where there is one."""
    gpu = sight.gpu(instance.spec.gpu)
    if gpu is None or instance.pid is None or instance.pid not in gpu.used:
        return instance
    most = max(instance.gpu_memory_bytes, gpu.used[instance.pid])
    return replace(instance, gpu_memory_bytes=most)


def postpone(devices: Devices, by_s: float) -> Devices:
    """Return the devices with all their times moved: the supervisor itself did not run so long."""

    def moved(at: float | None) -> float | None:
        return None if at is None else at + by_s

    def later(seat: Seat | None) -> Seat | None:
        if seat is None:
            return None
        return replace(
            seat,
            since=seat.since + by_s,
            low_since=moved(seat.low_since),
            ample_since=moved(seat.ample_since),
            retry_at=seat.retry_at + by_s,
        )

    moved_at: Mapping[str, float] = {gpu: at + by_s for gpu, at in devices.moved_at.items()}
    return replace(
        devices,
        sight=replace(devices.sight, at=devices.sight.at + by_s),
        placements=MappingProxyType(
            {
                name: replace(placement, seats=tuple(later(s) for s in placement.seats))
                for name, placement in devices.placements.items()
            }
        ),
        releases=tuple(
            replace(r, at=r.at + by_s, not_before=r.not_before + by_s) for r in devices.releases
        ),
        moved_at=MappingProxyType(moved_at),
    )
