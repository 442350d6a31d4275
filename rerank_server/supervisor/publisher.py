"""Says what the server is doing: routes.json, state.json, and to the service manager.

The files are written whole, only when they changed, routes first.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rerank_server import __version__
from rerank_server.core.cascade_state import lent, staged
from rerank_server.core.front import Front, FrontInstance, FrontState
from rerank_server.core.notice import summarize
from rerank_server.core.publish import Usage, gpu_state, routes, version_state
from rerank_server.core.routing import RoutesTable, to_json
from rerank_server.core.stats import VersionStats
from rerank_server.core.traffic import traffic_state
from rerank_server.core.types import Fleet, State
from rerank_server.core.wanted import WantedVersion
from rerank_server.supervisor.desired import Desired
from rerank_server.supervisor.digests import Digests
from rerank_server.supervisor.listeners import Listeners
from rerank_server.supervisor.notify import Notices
from rerank_server.supervisor.rundir import RunDir, write_json

log = logging.getLogger(__name__)

_STATE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is known at one moment."""

    desired: Desired
    config_error: str | None
    fleet: Fleet
    front: Front
    stats: Mapping[str, VersionStats]
    usage: Mapping[str, Usage]
    bells: int
    """How often a reload was asked for, ever."""
    is_stopping: bool
    rollout: Mapping[str, object]
    """What there is to show of the rollout."""


class Publisher:
    """Keeps the two public files true, and the service manager informed."""

    def __init__(
        self,
        run: RunDir,
        config_path: Path,
        listeners: Listeners,
        service: Notices,
        digests: Digests,
    ) -> None:
        self._run = run
        self._config_path = config_path
        self._listeners = listeners
        self._service = service
        self._digests = digests
        self._started_at = time.time()
        self._table: RoutesTable | None = None
        self._shape: object = None
        self._state_at = float("-inf")
        self._is_stuck = False

    def publish(self, picture: Picture, now: float) -> bool:
        """Write what changed; state.json also once a second.

        Returns whether it is written. A disk that is full is logged, not raised.
        """
        try:
            self._publish(picture, now)
        except OSError as error:
            if not self._is_stuck:
                problem = {"file": error.filename, "why": error.strerror}
                log.error("what the server does cannot be published", extra=problem)
            self._is_stuck = True
            return False
        self._is_stuck = False
        return True

    def _publish(self, picture: Picture, now: float) -> None:
        desired = picture.desired
        table = routes(
            desired.wanted,
            picture.fleet,
            desired.limits,
            picture.front.published,
            str(self._run.sockets),
        )
        table = replace(
            table, access=desired.access, traffic=desired.traffic, mirror=desired.mirror
        )
        if picture.is_stopping:
            table = replace(table, is_stopping=True)
        if table != self._table:
            write_json(self._run.routes, to_json(table))
            self._table = table
        rollout = _standing(picture.rollout)
        shape = (table, picture.config_error, picture.front, _states(picture.fleet), rollout)
        if shape != self._shape or now - self._state_at >= _STATE_EVERY_S:
            self._look_at_files(picture.fleet)
            write_json(self._run.state, self._state(picture, table.default, now))
            self._shape, self._state_at = shape, now

    def notify(self, picture: Picture, now: float) -> None:
        """Tell the service manager what is due; to be called on each turn of the control loop."""
        server = picture.desired.config.server
        summary = summarize(
            picture.desired.wanted,
            picture.fleet,
            picture.desired.front,
            picture.front,
            bells=picture.bells,
            is_config_refused=picture.config_error is not None,
            is_stopping=picture.is_stopping,
            stop_timeout_s=server.shutdown_delay_s + server.stop_timeout_s,
        )
        self._service.tell(summary, now)

    def _look_at_files(self, fleet: Fleet) -> None:
        """Have the files of what serves digested, while nothing else is about to read its own."""
        instances = fleet.instances()
        if any(i.state is State.STARTING for i in instances):
            return
        for instance in instances:
            if instance.state is State.RUNNING:
                self._digests.ask((instance.spec.directory, instance.spec.fingerprint))

    def _state(self, picture: Picture, default: str, now: float) -> dict[str, object]:
        wanted = picture.desired.wanted
        front = picture.desired.front
        host, port = self._listeners.host(front), self._listeners.port(front)
        return {
            "schema": 1,
            "time": time.time(),
            "server": {
                "pid": os.getpid(),
                "version": __version__,
                "started_at": self._started_at,
                "config": str(self._config_path),
                "host": host,
                "port": port,
                "url": f"http://{_reachable(host)}:{port}",
                "stopping": picture.is_stopping,
            },
            "generation": wanted.generation,
            "config_error": picture.config_error,
            "default": default,
            "default_wanted": wanted.default,
            "traffic": traffic_state(picture.desired.traffic, default),
            "rollout": picture.rollout,
            "gateway": _gateway_state(picture.front),
            "gpu": gpu_state(picture.fleet.devices, now),
            "versions": [
                self._version(picture, version, now, is_default=version.name == default)
                for version in (*wanted.versions.values(), *lent(wanted, picture.fleet))
            ],
        }

    def _version(
        self, picture: Picture, version: WantedVersion, now: float, *, is_default: bool
    ) -> Mapping[str, object]:
        wanted, fleet, name = picture.desired.wanted, picture.fleet, version.name
        entry = version_state(
            version,
            fleet.slot(name),
            picture.stats.get(name, VersionStats()),
            picture.usage,
            now,
            is_default=is_default,
            moves=fleet.devices.placement(name).moves,
            digests=self._digests.known,
        )
        return staged(wanted, fleet, entry, now)


def _states(fleet: Fleet) -> tuple[object, ...]:
    """Return what of the fleet must be seen at once; figures may wait for the next second."""
    instances = tuple((i.id, i.state, i.pid) for i in fleet.instances())
    return (fleet.default, instances, tuple(slot.failure for slot in fleet.slots.values()))


def _standing(rollout: Mapping[str, object]) -> tuple[object, ...]:
    """Return what of a rollout must be seen at once."""
    current = rollout.get("current")
    if not isinstance(current, Mapping):
        return ()
    return tuple(current.get(key) for key in ("to", "state", "step", "reason"))


def _gateway_state(front: Front) -> dict[str, object]:
    rank = list(FrontState).index
    shown: FrontInstance | None = max(
        front.instances, key=lambda i: (i.state is FrontState.RUNNING, -rank(i.state)), default=None
    )
    return {
        "generation": front.published,
        "pid": shown.pid if shown is not None else None,
        "state": shown.state if shown is not None else "BACKOFF",
        "restarts": front.restarts,
        "reason": front.reason,
    }


def _reachable(host: str) -> str:
    """Return a host name a client on this machine can use."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host
