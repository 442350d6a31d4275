"""Where requests go that name no version: shares of traffic, and copies for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """Who set the shares."""

    CONFIG = "config"
    OPERATOR = "operator"
    ROLLOUT = "rollout"


@dataclass(frozen=True, slots=True)
class Arm:
    """One version and its share of the requests that name none."""

    version: str
    share: float
    """Percent, 0 to 100."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """How requests that name no version are split. Part of the routes table."""

    arms: tuple[Arm, ...] = ()
    """The default is not among them: it has what they leave. None: it has everything."""
    source: Source = Source.CONFIG


@dataclass(frozen=True, slots=True)
class Mirror:
    """Which version scores a copy of which share of the requests that others answered."""

    to: str
    share: float
    """0 to 1."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a cascade."""

    version: str
    keep: int | None = None
    """How many documents go on to the next stage; None at the last one."""


def traffic_json(traffic: Traffic) -> dict[str, object]:
    """Return the JSON object of routes.json."""
    return {
        "source": traffic.source,
        "arms": [{"version": arm.version, "share": arm.share} for arm in traffic.arms],
    }


def traffic_from(obj: Mapping[str, object]) -> Traffic:
    """Read what `traffic_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is not that.
    """
    arms = obj["arms"]
    if not isinstance(arms, list):
        raise TypeError("routes.json: traffic: arms must be a list")
    return Traffic(
        tuple(Arm(str(arm["version"]), float(arm["share"])) for arm in arms),
        Source(str(obj["source"])),
    )


def mirror_json(mirror: Mirror | None) -> dict[str, object] | None:
    """Return the JSON value of routes.json."""
    return None if mirror is None else {"to": mirror.to, "share": mirror.share}


def mirror_from(obj: object) -> Mirror | None:
    """Read what `mirror_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is not that.
    """
    if obj is None:
        return None
    if not isinstance(obj, Mapping):
        raise TypeError("routes.json: mirror must be an object or null")
    return Mirror(str(obj["to"]), float(obj["share"]))


def stages_from(obj: object) -> tuple[Stage, ...]:
    """Read a cascade's stages from routes.json.

    Raises:
        KeyError, TypeError, ValueError: it holds none.
    """
    if not isinstance(obj, list):
        raise TypeError("routes.json: cascade must be a list")
    return tuple(
        Stage(str(stage["version"]), None if stage["keep"] is None else int(stage["keep"]))
        for stage in obj
    )
