"""What the service manager (systemd) is told, from the fleet and from what it was told last."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rerank_server.core.front import Front, FrontSpec, FrontState
from rerank_server.core.plan import verdict
from rerank_server.core.served import serves
from rerank_server.core.status import duration, one_line
from rerank_server.core.types import Fleet, Instance, State
from rerank_server.core.wanted import Wanted, WantedVersion

EXTEND_S = 30.0
"""Asked for while something loads. It also puts off the watchdog, hence no longer than that."""
EXTEND_EVERY_S = 5.0
STOP_MARGIN_S = 10.0
"""Beyond our own stop deadline; after it something is stuck that only systemd can end."""
_REASON_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Loading:
    """A version whose process is on its way."""

    version: str
    since: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """An enabled version that neither runs nor loads."""

    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What of the server a service manager cares about, at one moment."""

    enabled: int
    running: int
    default: str
    default_wanted: str
    default_runs: bool
    gateway_serves: bool
    is_settled: bool
    """Nothing of the last accepted config is still under way."""
    loading: tuple[Loading, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    is_config_refused: bool = False
    bells: int = 0
    """How often a reload was asked for, ever."""
    is_stopping: bool = False
    workers_left: int = 0
    is_gateway_left: bool = False
    stop_timeout_s: float = 0.0

    @property
    def is_ready(self) -> bool:
        """Tell whether waiting longer gains nothing: the default serves, or all has settled."""
        return self.gateway_serves and (self.default_runs or self.is_settled)


class Phase(StrEnum):
    """What the service manager believes of this server."""

    LOADING = "LOADING"
    READY = "READY"
    RELOADING = "RELOADING"
    STOPPING = "STOPPING"


@dataclass(frozen=True, slots=True)
class Said:
    """What the service manager has been told so far. Times are monotonic seconds."""

    phase: Phase = Phase.LOADING
    bells: int = 0
    summary: Summary | None = None
    extended_at: float = float("-inf")
    watchdog_at: float = float("-inf")


def notices(
    summary: Summary, said: Said, now: float, watchdog_s: float | None = None
) -> tuple[tuple[str, ...], Said]:
    """Return the datagrams due now, in order, and what has been said once they are sent.

    `watchdog_s` is how long the service manager waits for a sign of life; None: it does not.
    """
    datagrams, phase = _turns(summary, said, now)
    lines: list[str] = []
    extended_at, watchdog_at = said.extended_at, said.watchdog_at
    is_waiting = phase is Phase.RELOADING or (phase is Phase.LOADING and not summary.is_settled)
    is_due = is_waiting and now - extended_at >= EXTEND_EVERY_S
    if is_due:
        lines.append(f"EXTEND_TIMEOUT_USEC={_usec(EXTEND_S)}")
        extended_at = now
    if is_due or datagrams or summary != said.summary:
        lines.append(f"STATUS={status(summary, now)}")
    # A third: the loop ticks each second, and one late tick must not cost the server its life.
    if watchdog_s is not None and now - watchdog_at >= watchdog_s / 3:
        lines.append("WATCHDOG=1")
        watchdog_at = now
    if lines:
        before = [datagrams.pop()] if datagrams else []
        datagrams.append("\n".join([*before, *lines]))
    return tuple(datagrams), Said(phase, summary.bells, summary, extended_at, watchdog_at)


def _turns(summary: Summary, said: Said, now: float) -> tuple[list[str], Phase]:
    """Return the changes of phase to be told, each a datagram of its own, and the last phase."""
    if summary.is_stopping:
        if said.phase is Phase.STOPPING:
            return [], Phase.STOPPING
        wait = _usec(summary.stop_timeout_s + STOP_MARGIN_S)
        return [f"STOPPING=1\nEXTEND_TIMEOUT_USEC={wait}"], Phase.STOPPING
    turns: list[str] = []
    phase = said.phase
    if phase is not Phase.LOADING and summary.bells != said.bells:
        # Each bell is answered, also one that changes nothing: somebody may be waiting for it.
        turns.append(f"RELOADING=1\nMONOTONIC_USEC={_usec(now)}")
        phase = Phase.RELOADING
    is_done = (phase is Phase.LOADING and summary.is_ready) or (
        phase is Phase.RELOADING and summary.is_settled
    )
    if is_done:
        turns.append("READY=1")
        phase = Phase.READY
    return turns, phase


def status(summary: Summary, now: float) -> str:
    """Return the line `systemctl status` shows."""
    if summary.is_stopping:
        if summary.is_gateway_left:
            return "stopping: requests in flight are being answered"
        return f"stopping: workers left: {summary.workers_left}"
    ran = f"{summary.running} of {summary.enabled}"
    names = [f"{one.version} ({duration(max(0.0, now - one.since))})" for one in summary.loading]
    noun = "version runs" if summary.enabled == 1 else "versions run"
    parts = [f"loading {', '.join(names)}, {ran} run" if names else f"{ran} {noun}"]
    if summary.default_runs:
        behind = summary.default != summary.default_wanted
        not_yet = f", not {summary.default_wanted} as configured" if behind else ""
        parts.append(f"default {summary.default}{not_yet}")
    elif not names:
        parts.append(f"default {summary.default} does not run")
    if summary.troubles:
        first = summary.troubles[0]
        parts.append(f"{first.version}: {one_line(first.reason)[:_REASON_CHARACTERS]}")
    if len(summary.troubles) > 1:
        parts.append(f"in trouble, too: {', '.join(t.version for t in summary.troubles[1:])}")
    if not summary.gateway_serves:
        parts.append("the gateway does not serve")
    if summary.is_config_refused:
        parts.append("the config as it is now was refused")
    return "; ".join(parts)


def summarize(
    wanted: Wanted,
    fleet: Fleet,
    front_wanted: FrontSpec,
    front: Front,
    *,
    bells: int,
    is_config_refused: bool,
    is_stopping: bool,
    stop_timeout_s: float,
) -> Summary:
    """Return the summary of a server that is to become, or stay, as `wanted`."""
    enabled = [version for version in wanted.versions.values() if version.enabled]
    default = fleet.default or wanted.default
    return Summary(
        enabled=len(enabled),
        running=sum(serves(fleet, version.name) for version in enabled),
        default=default,
        default_wanted=wanted.default,
        default_runs=serves(fleet, default),
        gateway_serves=front.published > 0,
        is_settled=_is_front_settled(front_wanted, front) and verdict(wanted, fleet) is not None,
        loading=tuple(
            Loading(i.spec.version, i.spawned_at)
            for i in fleet.instances()
            if i.state is State.STARTING
        ),
        troubles=tuple(
            Trouble(version.name, reason)
            for version in enabled
            if (reason := _trouble(version, fleet)) is not None
        ),
        is_config_refused=is_config_refused,
        bells=bells,
        is_stopping=is_stopping,
        workers_left=len(fleet.instances()),
        is_gateway_left=bool(front.instances),
        stop_timeout_s=stop_timeout_s,
    )


def _is_front_settled(wanted: FrontSpec, front: Front) -> bool:
    """Tell whether the gateway serves as wanted, or could not boot at least once."""
    serves = any(i.spec == wanted and i.state is FrontState.RUNNING for i in front.instances)
    return serves or front.reason is not None


def _trouble(version: WantedVersion, fleet: Fleet) -> str | None:
    """Return why the version has no process that runs or loads; None while it is not in trouble."""
    slot = fleet.slot(version.name)
    if any(_is_alive(i) for i in slot.instances):
        return None
    if version.problem is not None:
        return version.problem
    failure = slot.failure_of(*version.specs)
    return failure.reason if failure is not None else None


def _is_alive(instance: Instance) -> bool:
    return instance.state in (State.STARTING, State.RUNNING)


def _usec(seconds: float) -> int:
    return int(seconds * 1_000_000)
