"""The whole of placement in two steps: decide, then write the decisions into what is wanted."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from rerank_server.core.devices import Devices, Placement, spec_at
from rerank_server.core.memory import Scene, settle_releases
from rerank_server.core.moves import follow, shift
from rerank_server.core.placement import is_valid, keep_valid, seat_all
from rerank_server.core.types import Fleet
from rerank_server.core.wanted import GpuPolicy, Replace, Wanted, WantedVersion


def place(wanted: Wanted, fleet: Fleet, now: float, policy: GpuPolicy) -> Fleet:
    """Return the fleet with every decision about devices that is due now."""
    scene = Scene(wanted, fleet, now, policy)
    scene = scene.with_devices(settle_releases(scene.devices, now, policy))
    return seat_all(shift(follow(keep_valid(scene)))).fleet


def placed(wanted: Wanted, fleet: Fleet) -> Wanted:
    """Return what is wanted with the specs that follow from where each version is placed.

    A version that no decision was made for yet waits.
    """
    versions = {
        name: _placed(version, fleet.devices) if version.spec is not None else version
        for name, version in wanted.versions.items()
    }
    return replace(wanted, versions=MappingProxyType(versions))


def _placed(version: WantedVersion, devices: Devices) -> WantedVersion:
    placement = devices.placement(version.name)
    is_anywhere = version.wish.device in ("auto", "cpu")
    if not placement.seats and devices.sight.gpus == () and is_anywhere:
        return version  # there is nothing to decide on a host without a card
    kept = [placement.seat(replica) for replica in range(version.replicas)]
    seats = [s if s and is_valid(s, version, placement, devices) else None for s in kept]
    specs = {n: spec_at(version, n, seat) for n, seat in enumerate(seats) if seat is not None}
    whys = [
        seat.degraded or (seat.origin.degraded if seat.origin is not None else None)
        for seat in seats
        if seat is not None
    ]
    waits = placement.waits
    if len(specs) < version.replicas and waits is None and placement.problem is None:
        waits = "not placed yet"
    return replace(
        version,
        placed=tuple(specs.values()),
        held=frozenset(specs[n] for n in placement.held if n in specs),
        problem=version.problem or (placement.problem.text if placement.problem else None),
        lack=placement.problem.reason if placement.problem else None,
        waits=waits,
        replace=_replace(version, placement),
        degraded=next((why for why in whys if why is not None), None),
    )


def _replace(version: WantedVersion, placement: Placement) -> Replace:
    """Return how a successor starts: beside its predecessor where there is room for both."""
    if any(seat is not None and seat.origin is not None for seat in placement.seats):
        return "overlap"  # a move: they are on different devices
    if version.replace == "auto" and placement.is_crowded:
        return "stop_first"
    return version.replace
