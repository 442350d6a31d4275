"""Where requests flow that name no version: what config, operator and rollout make of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from rerank_server.core.traffic import guided
from rerank_server.core.types import Fleet
from rerank_server.supervisor.desired import Desired
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.own_state import OwnState
from rerank_server.supervisor.requests import Outcome, Verdict, answer, pending
from rerank_server.supervisor.rollouts import Rollouts
from rerank_server.supervisor.rundir import RunDir, StateDir
from rerank_server.supervisor.traffic import TrafficDesk

log = logging.getLogger(__name__)


class Flow:
    """The traffic as the loop sees it.

    On each turn it has this tend, then publishes what it directs, then has it settle. Nothing
    here starts or stops a process, and nothing that fails here keeps the loop from that.
    """

    def __init__(self, run: RunDir, state: StateDir, journal: Journal, config: Path) -> None:
        self._run = run
        own = OwnState.of(state, config)
        if own.others:
            journal.note("traffic of other configs not taken", configs=list(own.others))
            log.info("traffic of other configs not taken", extra={"configs": own.others})
        self._shares = TrafficDesk(run, own.traffic, journal)
        self._rollouts = Rollouts(run, own.rollout, journal)
        self._outcomes: list[Outcome] = []

    def tend(self, desired: Desired, fleet: Fleet, now: float) -> None:
        """Take in what config, operators and gateways say. `now` is monotonic. Never raises."""
        try:
            self._tend(desired, fleet, now)
        except Exception:  # the processes must be supervised, whatever becomes of the shares
            log.exception("the traffic cannot be tended; it is tried again")

    def _tend(self, desired: Desired, fleet: Fleet, now: float) -> None:
        answered = {outcome.id for outcome in self._outcomes}
        generation = desired.wanted.generation
        self._rollouts.tend(desired, fleet, now)
        for request in pending(self._run, generation):
            if request.verb == "rollout" and request.id not in answered:
                error = self._rollouts.take(request.said, request.actor, desired, fleet, now)
                verdict: Verdict = "applied" if error is None else "refused"
                self._outcomes.append(Outcome(request.id, verdict, generation, error=error))
        if self._shares.hear(desired, self._rollouts.holds):
            self._rollouts.let_go()

    def directed(self, desired: Desired) -> Desired:
        """Return what is desired with the traffic and the mirror that are in force."""
        traffic = self._shares.effective(desired)
        arm = self._rollouts.arm(desired)
        if arm is not None and (arm.share or arm.version in {a.version for a in traffic.arms}):
            traffic = guided(traffic, arm)
        return replace(desired, traffic=traffic, mirror=self._rollouts.mirror(desired))

    def rollout(self, desired: Desired) -> dict[str, object]:
        """Return the object of state.json on rollouts."""
        return self._rollouts.shown(desired)

    def settle(self, desired: Desired, actor: str) -> None:
        """Answer what was asked, once what is directed is published. Never raises."""
        try:
            self._settle(desired, actor)
        except Exception:  # as above; an answer that could not be written is tried again
            log.exception("the traffic cannot be settled; it is tried again")

    def close(self) -> None:
        """Keep what is known, for the next server."""
        self._rollouts.close()

    def _settle(self, desired: Desired, actor: str) -> None:
        self._shares.settle(desired.traffic, actor)
        while self._outcomes:
            answer(self._run, self._outcomes[0])
            del self._outcomes[0]
