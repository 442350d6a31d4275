"""Random histories of configs, crashes, hangs and resets, run through the pure core alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rerank_server.core import wire
from rerank_server.core.lifecycle import apply, issue
from rerank_server.core.plan import verdict
from rerank_server.core.reconcile import next_deadline, reconcile
from rerank_server.core.served import point_default
from rerank_server.core.types import (
    Action,
    Beaten,
    BecameReady,
    Drain,
    Drained,
    Event,
    Exited,
    Fleet,
    Kill,
    Spawned,
    Start,
    State,
    Stop,
    WasReset,
)
from rerank_server.core.wanted import NOTHING, Policy, Replace, Wanted, WantedVersion, WorkerSpec

NAMES = ("v1", "v2", "v3")
POLICY = Policy(start_slots=1, failure_limit=3, backoff_cap_s=8.0)
BAD_FILES = "bad-files"
"""A spec with this fingerprint can never become ready."""


@dataclass
class World:
    """The loop of the supervisor on a virtual clock, its workers being names."""

    wanted: Wanted
    fleet: Fleet = field(default_factory=Fleet)
    now: float = 0.0
    dying: dict[str, int] = field(default_factory=dict)
    """Instances told to go, with the exit code they will have."""
    actions: list[Action] = field(default_factory=list)

    def step(self, *events: Event) -> None:
        """Take in events, decide until nothing is new, and check every decision."""
        for event in events:
            self.fleet = apply(self.fleet, event, self.now, POLICY)
        for _ in range(50):
            before = self.fleet
            pointer = point_default(self.wanted, self.fleet)
            self._check_pointer(before.default, pointer)
            self.fleet = replace(self.fleet, default=pointer)
            actions = reconcile(self.wanted, self.fleet, self.now, POLICY)
            for action in actions:
                self._check_action(action)
                self.fleet = issue(self.fleet, action, self.now)
                self._carry_out(action)
            self._check_fleet()
            if not actions:
                return
        raise AssertionError("reconcile never comes to rest")

    def _carry_out(self, action: Action) -> None:
        self.actions.append(action)
        match action:
            case Start(instance):
                self.fleet = apply(self.fleet, Spawned(instance, 1), self.now, POLICY)
            case Stop(instance):
                self.dying[instance] = wire.EXIT_DONE
            case Kill(instance):
                self.dying[instance] = -9
            case Drain():
                pass

    def _check_pointer(self, before: str | None, after: str | None) -> None:
        if before is not None and before != after and self.wanted is not NOTHING:
            runs_before = self._runs(before)
            assert after is not None
            assert self._runs(after) or not runs_before, "the default left a version that runs"

    def _check_action(self, action: Action) -> None:
        instance = self.fleet.find(action.instance)
        if isinstance(action, Start):
            assert instance is None
            return
        assert instance is not None
        specs = self.wanted.specs(instance.spec.version)
        if isinstance(action, Drain) and specs:
            version = self.wanted.versions[instance.spec.version]
            successor = any(
                i.spec in specs and i.state is State.RUNNING
                for i in self.fleet.slot(version.name).instances
                if i.spec.replica == instance.spec.replica or len(specs) <= instance.spec.replica
            )
            assert instance.spec not in specs, "a wanted process was drained"
            assert successor or version.replace == "stop_first", "drained before its successor ran"
        if isinstance(action, Drain) and self.wanted is not NOTHING:
            is_last_default = instance.spec.version == self.fleet.default and not specs
            assert not is_last_default, "the version behind the default route was drained"

    def _check_fleet(self) -> None:
        starting = [i for i in self.fleet.instances() if i.state is State.STARTING]
        assert len(starting) <= POLICY.start_slots
        for slot in self.fleet.slots.values():
            live = [i for i in slot.instances if i.state in (State.STARTING, State.RUNNING)]
            assert len({i.spec for i in live}) == len(live), "one spec runs twice"
            assert len({i.id for i in slot.instances}) == len(slot.instances)

    def _runs(self, version: str) -> bool:
        return any(i.state is State.RUNNING for i in self.fleet.slot(version).instances)

    # --- what workers do ----------------------------------------------------------------

    def behave(self) -> None:
        """Let every worker do what a healthy machine would have it do next."""
        for instance in self.fleet.instances():
            if instance.id in self.dying:
                self.step(Exited(instance.id, self.dying.pop(instance.id), "told to go"))
            elif instance.state is State.STARTING and instance.spec.fingerprint == BAD_FILES:
                self.step(Exited(instance.id, wire.EXIT_WOULD_FAIL_AGAIN, "bad weights"))
            elif instance.state is State.STARTING:
                self.step(BecameReady(instance.id, {}))
            elif instance.state is State.DRAINING:
                self.step(Drained(instance.id))

    def beat(self) -> None:
        for instance in self.fleet.instances():
            if instance.state in (State.RUNNING, State.DRAINING):
                self.step(Beaten(instance.id, 0, None))

    def settle(self) -> None:
        """Go on, without further accidents, until nothing is due any more."""
        for _ in range(200):
            self.step()
            self.behave()
            self.beat()
            deadline = next_deadline(self.wanted, self.fleet, POLICY)
            at_rest = not self.dying and all(
                i.state is State.RUNNING for i in self.fleet.instances()
            )
            waits = any(
                s.failure is not None
                and s.failure.retry_at is not None
                and s.failure_of(*self.wanted.specs(s.version)) is not None
                and len(s.instances) < len(self.wanted.specs(s.version))
                for s in self.fleet.slots.values()
            )
            if at_rest and not waits:
                self.step()
                if not self.dying:
                    return
            if waits and deadline is not None:
                self.now = max(self.now, min(deadline, self.now + 4.0))
        raise AssertionError(f"does not settle: {self.fleet}")


# --- histories ------------------------------------------------------------------------------


@st.composite
def configs(draw: st.DrawFn) -> Wanted:
    default = draw(st.sampled_from(NAMES))
    names = draw(st.permutations(NAMES))
    kept = names[: draw(st.integers(1, len(NAMES)))]
    wanted = {}
    for name in {default: None, **dict.fromkeys(kept)}:
        enabled = draw(st.booleans()) or name == default
        files = draw(st.sampled_from(["a", "b", BAD_FILES]))
        problem = draw(st.sampled_from([None, None, None, "no model files"]))
        spec = WorkerSpec(name, f"/models/{name}", files, "python")
        usable = enabled and problem is None
        wanted[name] = WantedVersion(
            name=name,
            enabled=enabled,
            endpoint=f"/rerank/{name}",
            description="",
            source=name,
            fallback=None,
            spec=spec if usable else None,
            problem=problem if enabled else None,
            replace=draw(st.sampled_from(get_args(Replace))),
            replicas=draw(st.sampled_from([1, 1, 1, 2, 3])),
            start_timeout_s=30.0,
            max_batch_s=20.0,
        )
    return Wanted(1, default, None, MappingProxyType(wanted))


operations = st.one_of(
    st.tuples(st.just("configure"), configs()),
    st.tuples(st.just("pass time"), st.floats(0.1, 40.0)),
    st.tuples(st.just("behave"), st.none()),
    st.tuples(st.just("beat"), st.none()),
    st.tuples(st.just("crash"), st.integers(0, 5)),
    st.tuples(st.just("stick"), st.integers(0, 5)),
    st.tuples(st.just("reset"), st.sampled_from(NAMES)),
)


def live_through(world: World, history: list[tuple[str, object]]) -> None:
    for what, value in history:
        instances = world.fleet.instances()
        match what, value:
            case "configure", Wanted() as wanted:
                world.wanted = replace(wanted, generation=world.wanted.generation + 1)
                world.step()
            case "pass time", float(seconds):
                world.now += seconds
                world.step()
            case "behave", _:
                world.behave()
            case "beat", _:
                world.beat()
            case "crash", int(n) if instances:
                victim = instances[n % len(instances)]
                world.dying.pop(victim.id, None)
                world.step(Exited(victim.id, -11, "killed by SIGSEGV"))
            case "stick", int(n) if instances:
                victim = instances[n % len(instances)]
                world.step(Beaten(victim.id, 1, world.now))
            case "reset", str(name):
                world.step(WasReset(name))


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=configs(), history=st.lists(operations, max_size=25))
def test_every_history_keeps_the_rules_and_ends_settled(
    first: Wanted, history: list[tuple[str, object]]
) -> None:
    world = World(first)
    world.step()

    live_through(world, history)
    world.settle()

    assert reconcile(world.wanted, world.fleet, world.now, POLICY) == []
    assert verdict(world.wanted, world.fleet) is not None
    for name in world.wanted.versions:
        specs = world.wanted.specs(name)
        slot = world.fleet.slot(name)
        running = [i.spec for i in slot.instances if i.state is State.RUNNING]
        has_failed = slot.failure_of(*specs) is not None
        assert has_failed or set(specs) <= set(running)

    world.wanted = NOTHING
    world.settle()

    assert world.fleet.instances() == ()
