"""Requests and reloads: what the bell asks for, and the outcome each asker gets."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rerank_server.core.by_hand import disabled, is_hand, no_process, refusal
from rerank_server.core.devices import WasMoved
from rerank_server.core.memory import Scene
from rerank_server.core.plan import Plan, carried_out, plan, verdict
from rerank_server.core.types import Fleet, State
from rerank_server.core.wanted import MB, GpuPolicy, Policy, Wanted
from rerank_server.errors import ConfigError, ListenError
from rerank_server.names import nearest
from rerank_server.supervisor.desired import Desired, Overrides, desire
from rerank_server.supervisor.history import ConfigHistory
from rerank_server.supervisor.listeners import Listeners
from rerank_server.supervisor.requests import SILENT, Outcome, Request, answer, pending
from rerank_server.supervisor.rundir import RunDir

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one ring of the bell asks of the loop."""

    actor: str
    desired: Desired | None = None
    """The newly accepted config; None when nothing changed or it was refused."""
    resets: tuple[str, ...] = ()
    moves: tuple[WasMoved, ...] = ()


@dataclass(frozen=True, slots=True)
class _Waiter:
    request: Request
    generation: int
    plan: Plan
    replaced: tuple[str, ...]


class Reloads:
    """Reads the config again when asked to, and answers each request once it has settled."""

    def __init__(
        self, run: RunDir, config_path: Path, overrides: Overrides, history: ConfigHistory
    ) -> None:
        self.config_path = config_path
        self.error: str | None = None
        """Why the config on disk was refused; None while it is the accepted one."""
        self._run = run
        self._overrides = overrides
        self._history = history
        self._epochs: dict[str, int] = {}
        self._waiters: list[_Waiter] = []

    def hear(self, current: Desired, fleet: Fleet, listeners: Listeners) -> Heard:
        """List the requests, then read the config: an outcome covers content at least as new."""
        generation = current.wanted.generation
        requests = [
            r for r in pending(self._run, generation) if r.verb not in SILENT and self._is_new(r)
        ]
        actor = ", ".join(r.actor for r in requests) or "SIGHUP"
        valid = [r for r in requests if self._check(r, current, fleet)]
        epochs = dict(self._epochs)
        for request in valid:
            if request.verb == "restart" and request.version is not None:
                epochs[request.version] = epochs.get(request.version, 0) + 1
        desired = self._read(generation + 1, epochs, listeners)
        if isinstance(desired, str):
            self.error = desired
            for request in valid:
                self._refuse(request, generation, desired)
            return Heard(actor)
        self.error = None
        self._epochs = epochs
        if _is_same(desired, current):
            desired = replace(desired, wanted=current.wanted)
        else:
            self._supersede(desired.wanted.generation)
            self._history.try_accept(desired.wanted.generation, desired.text)
        planned = plan(desired.wanted, fleet)
        replaced = _replaced(planned, fleet)
        for request in valid:
            waiter = _Waiter(request, desired.wanted.generation, planned, replaced)
            self._waiters.append(waiter)
        resets = [r.version for r in valid if r.verb == "reset" and r.version is not None]
        return Heard(
            actor,
            desired=desired if desired.wanted is not current.wanted else None,
            resets=tuple(resets),
            moves=tuple(
                WasMoved(r.version, r.device)
                for r in valid
                if r.verb == "move" and r.version is not None and is_hand(r.device)
            ),
        )

    def _read(
        self, generation: int, epochs: Mapping[str, int], listeners: Listeners
    ) -> Desired | str:
        """Return what the config asks for, its address listened on; or why it is refused."""
        try:
            desired = desire(self.config_path, self._overrides, generation, epochs)
            listeners.open(desired.front)
        except (ConfigError, ListenError) as error:
            log.error("config refused", extra={"problem": error.message})
            return error.message
        except Exception as error:  # a mistake here must leave no request without an answer
            log.exception("the config could not be read")
            return f"it could not be read ({type(error).__name__}); the server's log has more"
        return desired

    def settle(self, wanted: Wanted, fleet: Fleet) -> bool:
        """Answer the requests whose config has settled; return whether it has.

        To be called after routes and state were written. Those that only ask for a plan are
        answered at once.
        """
        for request in pending(self._run, wanted.generation):
            if request.verb == "plan":
                answer(self._run, self._plan(request, wanted.generation, fleet))
        found = verdict(wanted, fleet)
        if found is None:
            return False
        for waiter in self._waiters:
            done = carried_out(waiter.plan, fleet)
            why = disabled(wanted, waiter.request.version)
            if waiter.request.verb == "reset" and why is not None:
                self._refuse(waiter.request, waiter.generation, why)
                continue
            outcome = Outcome(
                id=waiter.request.id,
                verdict=found.word,
                generation=waiter.generation,
                started=done.started,
                replaced=waiter.replaced,
                stopped=done.stopped,
                kept=done.kept,
                reasons=found.reasons,
            )
            answer(self._run, outcome)
        self._waiters.clear()
        return True

    def policy(self, desired: Desired) -> Policy:
        """Return the deadlines and limits this config and this machine ask for."""
        cores = len(os.sched_getaffinity(0))
        return Policy(
            drain_timeout_s=desired.config.server.drain_timeout_s,
            start_slots=max(1, cores - 1),
            gpu=GpuPolicy(
                pressure_after_s=desired.config.server.gpu_pressure_after_s,
                recover_after_s=desired.config.server.gpu_recover_after_s,
                recover_margin_bytes=desired.config.server.gpu_recover_margin_mb * MB,
                cool_down_s=desired.config.server.gpu_cool_down_s,
            ),
        )

    def _plan(self, request: Request, generation: int, fleet: Fleet) -> Outcome:
        """Say what a reload would do now; nothing of what is read here is kept."""
        try:
            wanted = desire(self.config_path, self._overrides, generation + 1, self._epochs).wanted
        except ConfigError as error:
            return Outcome(request.id, "refused", generation, error=error.message)
        planned = plan(wanted, fleet)
        problems = {n: v.problem for n, v in wanted.versions.items() if v.problem is not None}
        return Outcome(
            id=request.id,
            verdict="planned",
            generation=generation,
            started=planned.started,
            replaced=_replaced(planned, fleet),
            stopped=planned.stopped,
            kept=planned.kept,
            reasons=problems,
        )

    def _is_new(self, request: Request) -> bool:
        return all(waiter.request.id != request.id for waiter in self._waiters)

    def _check(self, request: Request, current: Desired, fleet: Fleet) -> bool:
        """Refuse a request that cannot be carried out, whatever the config says."""
        generation = current.wanted.generation
        names = list(current.wanted.versions)
        if request.verb != "reload" and request.version not in names:
            near = nearest(request.version or "", names)
            hint = f"; did you mean {near!r}?" if near else f"; there are: {', '.join(names)}"
            self._refuse(request, generation, f"no version {request.version!r} here{hint}")
            return False
        if request.verb in ("reset", "restart", "move"):
            why = no_process(current.wanted, request.version)
            if why is not None:
                self._refuse(request, generation, why)
                return False
        if request.verb == "move" and request.version is not None:
            policy = self.policy(current).gpu
            scene = Scene(current.wanted, fleet, time.monotonic(), policy)
            why = refusal(scene, request.version, request.device)
            if why is not None:
                self._refuse(request, generation, why)
                return False
        return True

    def _refuse(self, request: Request, generation: int, error: str) -> None:
        answer(self._run, Outcome(request.id, "refused", generation, error=error))

    def _supersede(self, generation: int) -> None:
        for waiter in self._waiters:
            error = f"a newer config (generation {generation}) took its place before it settled"
            answer(
                self._run,
                Outcome(waiter.request.id, "superseded", waiter.generation, error=error),
            )
        self._waiters.clear()


def _replaced(planned: Plan, fleet: Fleet) -> tuple[str, ...]:
    """Return the versions of a plan that get a new process while an old one serves."""
    running = {i.spec.version for i in fleet.instances() if i.state is State.RUNNING}
    return tuple(name for name in planned.started if name in running)


def _is_same(new: Desired, old: Desired) -> bool:
    """Tell whether two configs ask for the very same, generation apart."""
    wanted = replace(new.wanted, generation=old.wanted.generation)
    return (
        wanted == old.wanted
        and list(wanted.versions) == list(old.wanted.versions)
        and new.front == old.front
        and new.limits == old.limits
        and new.access == old.access
        and new.config == old.config
    )
