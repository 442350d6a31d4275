"""The one loop that owns the fleet: events in, pure decisions, effects out."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from dataclasses import replace

from rerank_server.core.front import (
    FrontAction,
    FrontExited,
    FrontPolicy,
    FrontReady,
    FrontSpawned,
    FrontSpec,
    StopFront,
)
from rerank_server.core.lifecycle import apply, forget, issue_all
from rerank_server.core.placed import place, placed
from rerank_server.core.reconcile import next_deadline, reconcile
from rerank_server.core.served import point
from rerank_server.core.shutdown import Shutdown
from rerank_server.core.types import Action, CameLate, Drain, Event, Fleet, Stop, WasReset
from rerank_server.core.wanted import NOTHING, Policy, Wanted
from rerank_server.supervisor.cards import Cards
from rerank_server.supervisor.desired import Desired
from rerank_server.supervisor.figures import Figures
from rerank_server.supervisor.flow import Flow
from rerank_server.supervisor.front import FrontKeeper
from rerank_server.supervisor.gateway import Gateways
from rerank_server.supervisor.journal import Journal, changes
from rerank_server.supervisor.listeners import Listeners
from rerank_server.supervisor.publisher import Picture, Publisher
from rerank_server.supervisor.reloads import Reloads
from rerank_server.supervisor.rotation import Rotation
from rerank_server.supervisor.site import Site
from rerank_server.supervisor.strangers import reap_strangers
from rerank_server.supervisor.workers import Workers

log = logging.getLogger(__name__)

TICK_S = 1.0
"""State is published at least this often; it also bounds how late a stall is noticed."""
_STALL_S = 1.0
_MAX_ROUNDS = 1000

AnyEvent = Event | FrontSpawned | FrontReady | FrontExited
AnyAction = Action | FrontAction
_ENDS = (Drain, Stop, StopFront)


class Supervisor:
    """Runs one server until it is told to stop. All methods belong to the loop's thread."""

    def __init__(
        self,
        site: Site,
        desired: Desired,
        reloads: Reloads,
        listeners: Listeners,
        publisher: Publisher,
    ) -> None:
        self._site = site
        self._desired = desired
        self._reloads = reloads
        self._listeners = listeners
        self._publisher = publisher
        self._bells = 0
        self._journal = Journal(site.state.events)
        self._rotation = Rotation(site.state)
        self._flow = Flow(site.run, site.state, self._journal, reloads.config_path)
        self._figures = Figures()
        self._workers = Workers(site, self._post, self._figures.take)
        self._gateways = Gateways(site, self._post)
        self._keeper = FrontKeeper(self._gateways, listeners, self._journal)
        self._cards = Cards(site, self._post, self._journal)
        self._fleet = self._recorded = Fleet()
        self._inbox: deque[AnyEvent] = deque()
        self._due: deque[AnyAction] = deque()
        """Issued, and not performed yet: a turn that fails leaves them to the next."""
        self._is_stepping = False
        self._shutdown: Shutdown | None = None
        self._actor = "start"
        self._alive_at = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._done = site.loop.create_future()

    async def run(self) -> None:
        """Serve until every worker and the gateway are gone after `stop`."""
        self._journal.note("server started", config=str(self._reloads.config_path))
        self._fleet = Fleet(devices=self._cards.start())
        self._step()
        try:
            await self._done
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._cards.close(self._fleet, time.monotonic())
            self._flow.close()
            self._journal.note("server stopped")
            self._journal.close()

    def stop(self, why: str) -> None:
        """Shut down in order; called again, at once."""
        if self._shutdown is None:
            server = self._desired.config.server
            self._shutdown = Shutdown(
                time.monotonic(), server.shutdown_delay_s, server.stop_timeout_s
            )
        else:
            self._shutdown = replace(self._shutdown, is_hurried=True)
        log.info("stopping", extra={"why": why, "hurried": self._is_hurried()})
        self._journal.note("stopping", why=why, hurried=self._is_hurried())
        self._actor = why
        self._step()

    def hear(self) -> None:
        """Answer the bell: read the requests, then the config, and act on both."""
        if self._shutdown is not None:
            return
        self._bells += 1
        heard = self._reloads.hear(self._desired, self._fleet, self._listeners)
        for version in heard.resets:
            self._inbox.append(WasReset(version))
        self._inbox.extend(heard.moves)
        if heard.desired is not None:
            self._desired = heard.desired
            self._journal.note(
                "config accepted", generation=heard.desired.wanted.generation, actor=heard.actor
            )
        self._actor = heard.actor
        self._step()

    def _post(self, event: AnyEvent) -> None:
        self._inbox.append(event)
        if not self._is_stepping:
            self._site.loop.call_soon(self._step)

    # --- the step ---------------------------------------------------------------------------

    def _step(self) -> None:
        """Take one turn, then sleep until something is due. A failed turn is tried again."""
        if self._done.done():
            return
        self._is_stepping = True
        try:
            self._turn(time.monotonic())
        except Exception:  # say, a full disk: the workers serve on, and so must their supervision
            log.exception("a turn of the loop failed; it is tried again")
        finally:
            self._is_stepping = False
        self._finish_or_sleep()

    def _turn(self, now: float) -> None:
        """Take in all events, decide until nothing is new, publish, then act."""
        self._rotation.run(now)  # first: a turn that fails writes to the logs, too
        self._notice_stall(now)
        if os.getpid() == 1:  # the init of a container
            reap_strangers(lambda pid: self._workers.owns(pid) or self._gateways.owns(pid))
        if self._shutdown is None:
            self._flow.tend(self._placed(), self._fleet, now)
        for _ in range(_MAX_ROUNDS):
            self._absorb(now)
            spared = self._decide(now)
            is_told = self._publisher.publish(self._picture(), now)
            may_end = is_told or self._shutdown is not None
            self._fleet = self._fleet if may_end else spared
            if not (self._perform(may_end=may_end) or self._inbox):
                break
        else:
            log.error("the fleet does not settle", extra={"fleet": repr(self._fleet)})
        self._record()
        is_told = self._publisher.publish(self._picture(), now) and may_end
        # Here, where a turn of the loop is done: this feeds the service manager's watchdog.
        self._publisher.notify(self._picture(), time.monotonic())
        if not is_told:
            return  # an answer comes after what it is about
        self._flow.settle(self._picture().desired, self._actor)
        if self._reloads.settle(self._wanted(), self._fleet):
            self._actor = "supervisor"  # what happens from here on, nobody asked for

    def _notice_stall(self, now: float) -> None:
        late_s = now - self._alive_at - TICK_S
        self._alive_at = now
        if late_s > _STALL_S:
            log.warning("the supervisor itself was stopped", extra={"late_s": round(late_s, 1)})
            self._fleet = apply(self._fleet, CameLate(late_s), now, self._policy())
            self._keeper.absorb(CameLate(late_s), now)

    def _absorb(self, now: float) -> None:
        while self._inbox:
            event = self._inbox.popleft()
            if isinstance(event, FrontSpawned | FrontReady | FrontExited):
                self._keeper.absorb(event, now)
            else:
                self._fleet = apply(self._fleet, event, now, self._policy())

    def _decide(self, now: float) -> Fleet:
        """Put what is to be done in `_due`; return the fleet as it is if nobody is ended."""
        policy = self._policy()
        if self._shutdown is None:
            self._fleet = place(self._desired.wanted, self._fleet, now, policy.gpu)
        wanted = self._wanted()
        if self._shutdown is None:
            self._fleet = point(wanted, forget(wanted, self._fleet))
        actions = reconcile(wanted, self._fleet, now, policy)
        spared = issue_all(self._fleet, [a for a in actions if not isinstance(a, _ENDS)], now)
        self._fleet = issue_all(self._fleet, actions, now)
        self._due += actions
        self._due += self._keeper.decide(self._wanted_front(), now, self._front_policy())
        return spared

    def _perform(self, *, may_end: bool) -> bool:
        """Hand the actions to the hands, and tell whether there were any.

        What they do comes back as events. While a full disk keeps the gateway from being told who
        else answers, nobody is ended (it is decided anew), but who crashed or hangs is replaced.
        """
        some = False
        for _ in range(len(self._due)):
            action = self._due.popleft()
            if isinstance(action, _ENDS) and not may_end:
                self._due += [action] if isinstance(action, StopFront) else []
                continue
            some = True
            if isinstance(action, Action):
                self._workers.perform(action, may_dump=not self._is_hurried())
            else:
                self._keeper.perform(action)
        return some

    def _record(self) -> None:
        """Tell what changed since this was last done."""
        before, self._recorded = self._recorded, self._fleet
        for change in changes(before, self._fleet):
            self._journal.write(self._wanted(), change, self._actor)
        self._cards.tend(before, self._fleet, self._alive_at)
        self._keeper.close_unused(self._desired.front)
        self._figures.forget(self._fleet)

    def _picture(self) -> Picture:
        return Picture(
            desired=self._flow.directed(self._placed()),
            config_error=self._reloads.error,
            fleet=self._fleet,
            front=self._keeper.front,
            stats=self._figures.stats,
            usage=self._figures.usage,
            bells=self._bells,
            is_stopping=self._shutdown is not None,
            rollout=self._flow.rollout(self._desired),
        )

    def _placed(self) -> Desired:
        return replace(self._desired, wanted=placed(self._desired.wanted, self._fleet))

    def _finish_or_sleep(self) -> None:
        is_empty = not self._fleet.instances() and not self._keeper.front.instances
        if self._shutdown is not None and is_empty:
            self._done.set_result(None)
            return
        now = time.monotonic()
        deadlines = (
            next_deadline(self._wanted(), self._fleet, self._policy()),
            self._keeper.deadline(self._wanted_front(), self._front_policy()),
        )
        wake = min((d for d in deadlines if d is not None), default=now + TICK_S)
        wait_s = min(max(wake - now, 0.01), TICK_S)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._site.loop.call_later(wait_s, self._step)

    def _wanted(self) -> Wanted:
        """Return what is wanted: while requests are still answered, nothing changes yet."""
        if self._shutdown is not None and (self._is_hurried() or not self._keeper.front.instances):
            return NOTHING
        return placed(self._desired.wanted, self._fleet)

    def _wanted_front(self) -> FrontSpec | None:
        if self._shutdown is None or time.monotonic() < self._shutdown.gateway_ends_at:
            return self._desired.front
        return None

    def _front_policy(self) -> FrontPolicy:
        server = self._desired.config.server
        stop_s = server.stop_timeout_s / 2
        if self._shutdown is not None:
            stop_s = self._shutdown.gateway_timeout_s
        return FrontPolicy(stop_timeout_s=stop_s, keep_alive_s=server.keep_alive_s)

    def _policy(self) -> Policy:
        policy = self._reloads.policy(self._desired)
        return policy if self._shutdown is None else self._shutdown.shorten(policy)

    def _is_hurried(self) -> bool:
        return self._shutdown is not None and self._shutdown.is_hurried
