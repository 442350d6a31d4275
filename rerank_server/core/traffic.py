"""Where requests go that name no version: shares of traffic, and copies for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Literal

_DIGITS = 9
"""Of percents that are computed: the rest of a float is noise."""


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
    """The default has what they leave; none: it has everything. An arm of no share keeps its
    place."""
    source: Source = Source.CONFIG


@dataclass(frozen=True, slots=True)
class Split:
    """What was decided for one request, and why."""

    arm: str
    """The version it belongs to, the default included."""
    share: float
    """Percent, of that version."""
    by: Literal["key", "request"]
    """What was thrown: a key that the client sent, or the request's own id."""
    source: Source


def arm_of(traffic: Traffic, default: str, key: str) -> str:
    """Return the version that a request with this key belongs to: an arm, or the default.

    The first arm has the keys that fall lowest, the second those that fall highest: whatever
    their shares become, a key moves only between them and what lies in the middle. Three sets
    that grow and shrink freely cannot be kept apart that way, so the third arm and those after it
    draw lots, each its own, for what the arms before them left: of their keys a few move when a
    share before theirs changes.
    """
    place, left = 100 * fraction(key, "split"), 100.0
    for number, arm in enumerate(traffic.arms):
        if number == 0:
            is_in = place < arm.share
        elif number == 1:
            is_in = place >= 100 - arm.share
        else:
            is_in = fraction(key, f"split {arm.version}") * left < arm.share
        if is_in:
            return arm.version
        left -= arm.share
    return default


def fraction(text: str, salt: str) -> float:
    """Return where a text falls between 0 and 1, without 1: evenly, and everywhere the same.

    Two salts are two throws. A text decoded with `surrogateescape` counts as the bytes it was.
    """
    thrown = f"{salt}\0{text}".encode("utf-8", "surrogateescape")
    bits = int.from_bytes(blake2b(thrown, digest_size=8).digest(), "big")
    return (bits >> 11) * 2.0**-53  # as many bits as a float holds


def shares(traffic: Traffic, default: str) -> dict[str, float]:
    """Return each version's percent, the arms in their order, then the default."""
    found = {arm.version: arm.share for arm in traffic.arms if arm.version != default}
    found[default] = max(0.0, round(100.0 - sum(found.values()), _DIGITS))
    return found


def in_place(wanted: Mapping[str, float], before: Sequence[str]) -> dict[str, float]:
    """Return these shares in the order that moves the fewest keys.

    Versions that had a place keep it; one that is left out holds its own with 0, as long as
    another stands behind it.
    """
    names = [*before, *(name for name in wanted if name not in before)]
    while names and names[-1] not in wanted:
        names.pop()
    return {name: wanted.get(name, 0.0) for name in names}


def guided(traffic: Traffic, rollout: Arm | None) -> Traffic:
    """Return the traffic while a rollout has that share; None: none is under way.

    The others keep their proportions in what it leaves them. It comes second, unless it had a
    place: so no key of the first arm moves when it begins, and none but its own as it grows.
    """
    if rollout is None:
        return traffic
    names = [arm.version for arm in traffic.arms]
    had = sum(arm.share for arm in traffic.arms if arm.version == rollout.version)
    scale = min(1.0, (100.0 - rollout.share) / (100.0 - had)) if had < 100 else 0.0
    arms = [
        Arm(arm.version, round(arm.share * scale, _DIGITS))
        for arm in traffic.arms
        if arm.version != rollout.version
    ]
    place = names.index(rollout.version) if rollout.version in names[:1] else 1
    arms.insert(place, rollout)
    return Traffic(tuple(arms), Source.ROLLOUT)


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


def traffic_state(traffic: Traffic, default: str) -> dict[str, object]:
    """Return the JSON object of state.json; `traffic_from` reads it, too."""
    return {**traffic_json(traffic), "default_share": shares(traffic, default)[default]}


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
