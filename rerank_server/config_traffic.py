"""What config.yaml may say of traffic: shares, a mirror, a guarded rollout, a cascade."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rerank_server.config_section import Section
from rerank_server.names import nearest
from rerank_server.yaml_text import Key, shown

if TYPE_CHECKING:
    from rerank_server.config import Config

Percent = Annotated[float, Field(ge=0, le=100)]
Shares = dict[str, Percent]
"""Percent of the requests that name no version, by version; what is left goes to the default."""


class StageConfig(Section):
    """One stage of a cascade: who scores, and how many documents it lets through."""

    version: str
    keep: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None


class MirrorConfig(Section):
    """A version that scores a copy of some requests, for comparison only."""

    to: str
    share: Annotated[float, Field(gt=0, le=1)] = 0.1


class GuardsConfig(Section):
    """What a rollout must hold to go on."""

    error_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    p95_ratio: Annotated[float, Field(gt=0, le=1000)] = 1.5
    min_requests: Annotated[int, Field(ge=1, le=1_000_000_000)] = 50
    mirror_tau: Annotated[float, Field(ge=-1, le=1)] | None = None


class RolloutConfig(Section):
    """Moves traffic to a version step by step, and back to nothing when a guard breaks."""

    to: str
    steps: Annotated[list[Percent], Field(min_length=1, max_length=100)] = Field(
        default_factory=lambda: [1.0, 5.0, 25.0, 50.0, 100.0]
    )
    interval_s: Annotated[float, Field(gt=0, le=604_800)] = 300.0
    guards: GuardsConfig = GuardsConfig()


def faults(config: Config) -> Iterator[tuple[Key, str]]:
    """Yield what is wrong with the traffic of a config, beyond types and ranges."""
    yield from _shares(config)
    if config.mirror is not None:
        yield from _mirror(config, config.mirror)
    if config.rollout is not None:
        yield from rollout_faults(config, config.rollout)


def _mirror(config: Config, mirror: MirrorConfig) -> Iterator[tuple[Key, str]]:
    yield from must_serve(config, ("mirror", "to"), mirror.to)
    yield from _scores_copies(config, ("mirror", "to"), mirror.to)


def _scores_copies(config: Config, key: Key, name: str) -> Iterator[tuple[Key, str]]:
    stages = config.versions[name].cascade if name in config.versions else None
    if stages is not None:
        last = stages[-1].version if stages else "its last stage"
        yield key, f"{shown(name)} is a cascade, which scores no copies; mirror to {last} instead"


def must_serve(config: Config, key: Key, name: str) -> Iterator[tuple[Key, str]]:
    """Yield what is wrong with naming `name` at `key`, where a version has to answer."""
    if name not in config.versions:
        near = nearest(name, config.versions)
        hint = f"did you mean '{near}'?" if near else f"known: {', '.join(config.versions)}"
        yield key, f"{shown(name)} is not a version here; {hint}"
    elif not config.versions[name].enabled:
        yield key, f"{shown(name)} is not enabled; enable it, or take it out here"


def _shares(config: Config) -> Iterator[tuple[Key, str]]:
    for name in config.traffic:
        yield from must_serve(config, ("traffic", name), name)
    if text := bad_shares(config.traffic, config.default_version):
        yield ("traffic",), text


def bad_shares(shares: Mapping[str, float], default: str) -> str | None:
    """Say what is wrong with the sum of these shares, in percent; None when nothing is."""
    total = sum(shares.values())
    if total > 100 + 1e-9:
        return f"the shares add up to {total:g}%; at most 100%, and what is left goes to {default}"
    if default in shares and total < 100 - 1e-9:
        return (
            f"the shares add up to {total:g}%, and {default}, which gets what is left, has a share "
            "of its own; make it 100%, or leave that one out"
        )
    return None


def rollout_faults(config: Config, rollout: RolloutConfig) -> Iterator[tuple[Key, str]]:
    """Yield what is wrong with a rollout in this config, be it written there or not."""
    yield from must_serve(config, ("rollout", "to"), rollout.to)
    if rollout.to == config.default_version:
        yield ("rollout", "to"), f"{shown(rollout.to)} is the default version already"
    if rollout.steps[0] == 0 or any(after <= before for before, after in pairwise(rollout.steps)):
        yield ("rollout", "steps"), "must rise from step to step, and begin above 0"
    needs_mirror = rollout.guards.mirror_tau is not None
    if needs_mirror:
        yield from _scores_copies(config, ("rollout", "guards", "mirror_tau"), rollout.to)
    if needs_mirror and config.mirror is not None and config.mirror.to != rollout.to:
        yield (
            ("rollout", "guards", "mirror_tau"),
            f"needs a mirror to {rollout.to}, and mirror.to is {config.mirror.to}; change one",
        )
