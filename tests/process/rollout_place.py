"""A supervisor's rollouts with everything around them in one directory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rerank_server.core.evidence import Compared, Counts, Tally, counts_json
from rerank_server.core.traffic import Arm, Source, Traffic
from rerank_server.core.types import Fleet, Slot, State
from rerank_server.supervisor.desired import Desired, Overrides, desire
from rerank_server.supervisor.flow import Flow
from rerank_server.supervisor.journal import Journal
from rerank_server.supervisor.own_state import OwnState
from rerank_server.supervisor.rundir import RunDir, StateDir, prepare_run_dir, write_json
from tests.core.build import worker

SECTION = {
    "to": "v2",
    "steps": [5, 100],
    "interval_s": 8,
    "guards": {"error_ratio": 0.1, "min_requests": 10},
}
LIVE = Fleet({name: Slot(name, (worker(name),)) for name in ("v1", "v2")}, default="v1")
LOADING = Fleet(
    {"v1": Slot("v1", (worker("v1"),)), "v2": Slot("v2", (worker("v2", State.STARTING),))},
    default="v1",
)


class Place:
    """A run dir, a state dir, a config and gateways' files, with one supervisor after the other."""

    def __init__(self, directory: Path) -> None:
        self.run = RunDir(directory / "run")
        self.state = StateDir(directory)
        prepare_run_dir(self.run, directory.stat().st_uid)
        self.config = directory / "config.yaml"
        self.journal = Journal(self.state.events)
        self.flow = Flow(self.run, self.state, self.journal, self.config)
        self.fleet = LIVE
        self.now = 1000.0
        self.counts = Counts()
        self.desired = self.configured()

    @property
    def kept(self) -> Path:
        """What is kept of the rollout."""
        return OwnState.of(self.state, self.config).rollout

    def restarted(self) -> None:
        """Have another supervisor and other gateways start, much later."""
        for file in self.run.gateway.iterdir():
            file.unlink()
        self.counts = Counts()
        self.flow = Flow(self.run, self.state, self.journal, self.config)
        self.now += 10_000

    def configured(
        self,
        rollout: Mapping[str, object] | None = None,
        *,
        default: str = "v1",
        off: str = "",
        **more: object,
    ) -> Desired:
        """Have another config accepted, and take a turn."""
        config = {
            "default_version": default,
            "versions": {name: {"enabled": name != off} for name in ("v1", "v2", "v3")},
            "rollout": rollout,
            **more,
        }
        self.desired = desire(self.written(config), Overrides(), 3)
        self.turn()
        return self.desired

    def written(self, config: Mapping[str, object]) -> Path:
        """Write a config, and return its place."""
        self.config.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        return self.config

    def turn(self, seconds: float = 1.0) -> Desired:
        """Let time pass, take one turn of the loop, and return what it publishes."""
        self.now += seconds
        self.flow.tend(self.desired, self.fleet, self.now)
        published = self.flow.directed(self.desired)
        self.flow.settle(published, "supervisor")
        return published

    def count(
        self,
        v2: Tally,
        v1: Tally | None = None,
        mirrored: Compared | None = None,
        pid: int = os.getpid(),
    ) -> None:
        """Have a gateway process count more, and tell it."""
        arms = {"v1": v1 or Tally(), "v2": v2}
        self.counts = Counts(
            {n: self.counts.arms.get(n, Tally()).plus(tally) for n, tally in arms.items()},
            {("v1", "v2"): mirrored or Compared()},
        )
        write_json(
            self.run.gateway / f"evidence-{pid}.json", counts_json(self.counts, self.now + 0.5)
        )

    def order(self, **said: object) -> str:
        """Give an order, and return the verdict or the error."""
        return self.ask("rollout", said)

    def ask(self, verb: str, said: Mapping[str, object]) -> str:
        """Ask something of the supervisor, and return the verdict or the error."""
        request = {"verb": verb, "actor": "ann", "said": said}
        write_json(self.run.requests / "1-1.json", request)
        self.turn(0.1)
        path = self.run.outcomes / "1-1.json"
        outcome = json.loads(path.read_text())
        path.unlink()
        return str(outcome["error"] or outcome["verdict"])

    def shown(self) -> dict[str, Any]:
        """Return what state.json shows of rollouts."""
        return dict(self.flow.rollout(self.desired))

    def current(self) -> dict[str, Any]:
        """Return what it shows of the one under way."""
        found = self.shown()["current"]
        assert isinstance(found, dict)
        return found

    def events(self) -> list[str]:
        """Return the events of rollouts so far."""
        lines = [json.loads(line) for line in self.state.events.read_text().splitlines()]
        found = [str(line["event"]) for line in lines]
        return [e.removeprefix("rollout ") for e in found if e.startswith("rollout ")]


FINE = Tally(10, 0, {40: 10})
BAD = Tally(10, 10)
MANY = Tally(100, 0, {40: 100})


def by_rollout(share: float) -> Traffic:
    """Return what a rollout at this share makes of the traffic."""
    return Traffic((Arm("v2", share),), Source.ROLLOUT)
