"""A cascade's entry of state.json: it is as well as its stages are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from rerank_server.core.absence import degraded_of
from rerank_server.core.cascade import described
from rerank_server.core.publish import version_state
from rerank_server.core.served import is_lent, serves
from rerank_server.core.stats import VersionStats
from rerank_server.core.types import Fleet
from rerank_server.core.wanted import Wanted, WantedVersion


def staged(
    wanted: Wanted, fleet: Fleet, entry: Mapping[str, object], now: float
) -> Mapping[str, object]:
    """Return a version's entry; a cascade's with its stages, and the state that follows from them.

    It is RUNNING while it is answered for, else as the first stage is that does not run.
    """
    name = str(entry["name"])
    version = wanted.versions.get(name)
    if version is None:
        return {**entry, "configured": False}
    stages = fleet.cascades.get(name, version.cascade)
    if not stages:
        return entry
    shown: dict[str, object] = {**entry, "cascade": [asdict(stage) for stage in stages]}
    if why := degraded_of(wanted, fleet, version):
        shown |= {"degraded": why.text, "degraded_reason": why.reason}
    absent = _of_first_absent(wanted, fleet, version, now)
    if serves(fleet, name):
        is_asked_for = stages == version.cascade and not absent
        said = absent.get("reason", entry["reason"])
        reason = None if is_asked_for else _still(fleet, name, said)
        return {**shown, "state": "RUNNING", "reason": reason}
    return {**shown, **absent}


def lent(wanted: Wanted, fleet: Fleet) -> list[WantedVersion]:
    """Return the versions that are configured no longer, but that a cascade still answers by."""
    found: dict[str, list[str]] = {}
    for cascade, stages in fleet.cascades.items():
        for stage in stages:
            if stage.version not in wanted.versions and is_lent(wanted, fleet, stage.version):
                found.setdefault(stage.version, []).append(cascade)
    return [
        WantedVersion(
            name=name,
            enabled=False,
            endpoint=f"/rerank/{name}",
            description="",
            source=name,
            fallback=None,
            spec=None,
            problem=f"no longer configured; {', '.join(by)} still answers by it",
        )
        for name, by in found.items()
    ]


def _still(fleet: Fleet, name: str, reason: object) -> str:
    """Return what answers in place of what the config asks for, and why."""
    by_stages = serves(fleet, name, by_stages=True)
    now = described(fleet.cascades[name]) if by_stages else "its own process"
    return f"still {now}" if reason is None else f"still {now}; {reason}"


def _of_first_absent(
    wanted: Wanted, fleet: Fleet, version: WantedVersion, now: float
) -> Mapping[str, object]:
    stages = version.cascade if version.enabled else ()
    owns = [wanted.versions[stage.version] for stage in stages]
    absent = next((own for own in owns if not serves(fleet, own.name)), None)
    if absent is None:
        return {}
    found = version_state(
        absent, fleet.slot(absent.name), VersionStats(), {}, now, is_default=False
    )
    said = f"stage {absent.name}: {found['state']}"
    return {
        **{key: found[key] for key in ("state", "attempt", "retry_in_s")},
        "reason": said if found["reason"] is None else f"{said}: {found['reason']}",
    }
