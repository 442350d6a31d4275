"""Where requests flow that name no version: what config, operator and rollout make of it."""

from __future__ import annotations

from dataclasses import replace

from rerank_server.core.traffic import guided
from rerank_server.core.types import Fleet
from rerank_server.supervisor.desired import Desired
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.requests import Outcome, Verdict, answer, pending
from rerank_server.supervisor.rollouts import Rollouts
from rerank_server.supervisor.rundir import RunDir, StateDir
from rerank_server.supervisor.traffic import TrafficDesk


class Flow:
    """The traffic as the loop sees it.

    On each turn it has this tend, then publishes what it directs, then has it settle. Nothing
    here starts or stops a process.
    """

    def __init__(self, run: RunDir, state: StateDir, journal: Journal) -> None:
        self._run = run
        self._shares = TrafficDesk(run, state.traffic, journal)
        self._rollouts = Rollouts(run, state, journal)
        self._outcomes: list[Outcome] = []

    def tend(self, desired: Desired, fleet: Fleet, now: float) -> None:
        """Take in what config, operators and gateways say. `now` is monotonic."""
        answered = {outcome.id for outcome in self._outcomes}
        generation = desired.wanted.generation
        self._rollouts.tend(desired, fleet, now)
        for request in pending(self._run, generation):
            if request.verb == "rollout" and request.id not in answered:
                error = self._rollouts.take(request.said, request.actor, desired)
                verdict: Verdict = "applied" if error is None else "refused"
                self._outcomes.append(Outcome(request.id, verdict, generation, error=error))
        self._shares.hear(desired, self._rollouts.holds)

    def directed(self, desired: Desired) -> Desired:
        """Return what is desired with the traffic and the mirror that are in force."""
        traffic = self._shares.effective(desired)
        arm = self._rollouts.arm(desired, self._shares.said_at)
        if arm is not None and (arm.share or arm.version in {a.version for a in traffic.arms}):
            traffic = guided(traffic, arm)
        return replace(desired, traffic=traffic, mirror=self._rollouts.mirror(desired))

    def rollout(self) -> dict[str, object]:
        """Return the object of state.json on rollouts."""
        return self._rollouts.shown()

    def settle(self, desired: Desired, actor: str) -> None:
        """Answer what was asked, once what is directed is published."""
        self._shares.settle(desired.traffic, actor)
        while self._outcomes:
            answer(self._run, self._outcomes[0])
            del self._outcomes[0]
