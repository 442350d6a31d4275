"""Which versions answer just now: by a process of their own, or by those of their stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType

from rerank_server.core.traffic import Stage
from rerank_server.core.types import Fleet, Slot, State
from rerank_server.core.wanted import Wanted


def is_running(slot: Slot) -> bool:
    """Tell whether a process of this very version answers."""
    return any(i.state is State.RUNNING for i in slot.instances)


def serves(fleet: Fleet, name: str, *, by_stages: bool = False) -> bool:
    """Tell whether requests for `name` are answered: by its process, or by all of its stages.

    `by_stages` leaves its own process out, one from before it was a cascade.
    """
    stages = fleet.cascades.get(name, ())
    if stages and _all_run(fleet, stages):
        return True
    return not by_stages and is_running(fleet.slot(name))


def point(wanted: Wanted, fleet: Fleet) -> Fleet:
    """Return the fleet with the default route and each cascade pointing at what can answer."""
    fleet = _staged(wanted, fleet)
    fleet = replace(fleet, default=point_default(wanted, fleet))
    return _staged(wanted, fleet)  # a default that was left needs its stages no more


def point_default(wanted: Wanted, fleet: Fleet) -> str | None:
    """Return the version the default route points at.

    It moves to the wanted default only when that one is answered for; until then it stays where
    it is, as long as that one is.
    """
    if serves(fleet, wanted.default):
        return wanted.default
    if fleet.default is not None and serves(fleet, fleet.default):
        return fleet.default
    return wanted.default or fleet.default


def is_lent(wanted: Wanted, fleet: Fleet, name: str) -> bool:
    """Tell whether a cascade is answered by `name`, wanted for itself or not."""
    return wanted.default != "" and any(
        stage.version == name for stages in fleet.cascades.values() for stage in stages
    )


def _staged(wanted: Wanted, fleet: Fleet) -> Fleet:
    cascades = MappingProxyType(dict(_cascades(wanted, fleet)))
    return fleet if cascades == fleet.cascades else replace(fleet, cascades=cascades)


def _cascades(wanted: Wanted, fleet: Fleet) -> Iterator[tuple[str, tuple[Stage, ...]]]:
    """Yield the stages of each cascade: those it should have, once they all run.

    Until then those it had, as long as they do; so with a default that is no longer configured.
    """
    for name in dict.fromkeys((*wanted.versions, *fleet.cascades)):
        version = wanted.versions.get(name)
        is_wanted = version is not None and version.enabled
        new = version.cascade if version is not None and is_wanted else ()
        old = fleet.cascades.get(name, ())
        is_there = _all_run(fleet, new) if new else is_wanted and is_running(fleet.slot(name))
        is_needed = is_wanted or name == fleet.default
        if not is_there and is_needed and old and _all_run(fleet, old):
            yield name, old
        elif new:
            yield name, new


def _all_run(fleet: Fleet, stages: tuple[Stage, ...]) -> bool:
    return all(is_running(fleet.slot(stage.version)) for stage in stages)
