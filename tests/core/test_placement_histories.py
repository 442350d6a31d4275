"""Random histories of memory pressure, crashes and reloads on cards, through the pure core."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rerank_server.core import wire
from rerank_server.core.devices import Gpu, GpusSeen, Sight
from rerank_server.core.lifecycle import apply, forget, issue
from rerank_server.core.placed import place, placed
from rerank_server.core.reconcile import reconcile
from rerank_server.core.routing import FallbackReason
from rerank_server.core.served import point_default
from rerank_server.core.types import (
    Beaten,
    BecameReady,
    Drain,
    Drained,
    Event,
    Exited,
    Farewell,
    Fleet,
    Kill,
    SaidFarewell,
    Spawned,
    Start,
    State,
    Stop,
)
from rerank_server.core.wanted import MB, NOTHING, Policy, Wanted, WantedVersion, WorkerSpec
from tests.core.cards import GPU_POLICY, MODES, wishing

NAMES = ("v1", "v2", "v3")
POLICY = Policy(start_slots=2, failure_limit=1000, backoff_cap_s=4.0, gpu=GPU_POLICY)
RETURN_S = 1.0


@dataclass
class Machine:
    """Cards with other tenants on them, and the supervisor's loop on a virtual clock."""

    wanted: Wanted
    totals: list[int]
    """MB of each card."""
    fleet: Fleet = field(default_factory=Fleet)
    now: float = 0.0
    foreign: dict[int, int] = field(default_factory=dict)
    taken: dict[str, tuple[str, int]] = field(default_factory=dict)
    """What each process has of which card, in MB."""
    leaving: list[tuple[float, str, int]] = field(default_factory=list)
    """What the driver returns when, of which card, in MB."""
    dying: dict[str, int] = field(default_factory=dict)
    moves: dict[str, list[float]] = field(default_factory=dict)
    serial: int = 0

    def sight(self) -> Sight:
        gpus = []
        for index, total in enumerate(self.totals):
            uuid = f"GPU-{index}"
            free = max(0, total - self.foreign.get(index, 0) - self.own(uuid))
            gpus.append(Gpu(index, uuid, "Fake", total * MB, free * MB))
        return Sight(self.now, tuple(gpus))

    def own(self, uuid: str) -> int:
        held = sum(mb for gpu, mb in self.taken.values() if gpu == uuid)
        return held + sum(mb for _, gpu, mb in self.leaving if gpu == uuid)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.leaving = [entry for entry in self.leaving if entry[0] > self.now]

    def look(self) -> None:
        self.step(GpusSeen(self.sight()))

    def step(self, *events: Event) -> None:
        for event in events:
            self.fleet = apply(self.fleet, event, self.now, POLICY)
        for _ in range(100):
            asked = self.wanted
            if asked is not NOTHING:
                before = self.fleet
                self.fleet = place(asked, self.fleet, self.now, GPU_POLICY)
                self._note_moves(before)
                asked = placed(asked, self.fleet)
                self.fleet = forget(asked, self.fleet)
                self.fleet = replace(self.fleet, default=point_default(asked, self.fleet))
            actions = reconcile(asked, self.fleet, self.now, POLICY)
            for action in actions:
                self.fleet = issue(self.fleet, action, self.now)
                match action:
                    case Start(instance, spec):
                        self._load(instance, spec)
                    case Stop(instance):
                        self.dying[instance] = wire.EXIT_DONE
                    case Kill(instance):
                        self.dying[instance] = -9
                    case Drain():
                        pass
            if not actions:
                return
        raise AssertionError("reconcile never comes to rest")

    def _load(self, instance: str, spec: WorkerSpec) -> None:
        self.serial += 1
        self.fleet = apply(self.fleet, Spawned(instance, self.serial), self.now, POLICY)
        if not spec.gpu:
            return
        need = (self.wanted.versions[spec.version].wish.memory_bytes or 0) // MB
        last = self.fleet.devices.sight.gpu(spec.gpu)
        assert last is not None
        age_s = self.now - self.fleet.devices.sight.at
        if age_s <= GPU_POLICY.sight_timeout_s:  # later nobody can measure: it starts where it was
            assert need * MB <= last.free_bytes, "started on a card that had no room for it"
            assert self.own(spec.gpu) + need <= last.total_bytes // MB, "a card is over-committed"
        others = [i for i in self.fleet.instances() if i.spec.gpu == spec.gpu]
        loading = [i for i in others if i.state is State.STARTING]
        assert len(loading) == 1, "two loads on one card at once"
        self.taken[instance] = (spec.gpu, need)

    def _note_moves(self, before: Fleet) -> None:
        for name, replica, seat in self.fleet.devices.seats():
            was = before.devices.placement(name).seat(replica)
            if was is None or was.gpu == seat.gpu:
                continue
            if seat.origin is not None:  # a move by the rules: the old process serves meanwhile
                uuid = was.gpu or seat.gpu
                times = self.moves.setdefault(uuid, [])
                gap_s = self.now - times[-1] if times else GPU_POLICY.cool_down_s
                assert gap_s >= GPU_POLICY.cool_down_s, "two moves in one cool-down"
                times.append(self.now)

    # --- what workers do ----------------------------------------------------------------

    def behave(self, *events: Event) -> None:
        found = list(events)
        for instance in self.fleet.instances():
            if instance.id in self.dying:
                found.append(self.end(instance.id, self.dying[instance.id]))
            elif instance.state is State.STARTING:
                found.append(BecameReady(instance.id, {}))
            elif instance.state is State.DRAINING:
                found.append(Drained(instance.id))
            else:
                used = max(0, self.taken.get(instance.id, ("", 0))[1] - 500) * MB
                found.append(
                    Beaten(instance.id, 0, None, memory_bytes=100 * MB, gpu_memory_bytes=used)
                )
        self.step(*found)

    def end(self, instance: str, code: int) -> Exited:
        gpu, mb = self.taken.pop(instance, ("", 0))
        self.leaving.append((self.now + RETURN_S, gpu, mb))
        self.dying.pop(instance, None)
        return Exited(instance, code, "ended")

    def live(self, seconds: int) -> None:
        for _ in range(seconds):
            self.pass_time(1.0)
            self.behave(GpusSeen(self.sight()))


@st.composite
def versions(draw: st.DrawFn, name: str) -> WantedVersion:
    return wishing(
        name,
        draw(st.sampled_from(["auto", "auto", "auto", "cuda", "cuda:0", "cpu"])),
        need=draw(st.sampled_from([600, 1000, 2000, 3000])),
        threshold=draw(st.sampled_from([0, 500, 1500])),
        fallback=draw(st.booleans()),
        files=draw(st.sampled_from(["a", "b"])),
        replicas=draw(st.sampled_from([1, 1, 1, 2])),
        mode=draw(st.sampled_from(MODES)),
        stand_in=draw(st.sampled_from(["model", "model_cpu"])),
    )


@st.composite
def configs(draw: st.DrawFn) -> Wanted:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    found = {name: draw(versions(name)) for name in names}
    return Wanted(1, names[0], None, MappingProxyType(found))


operations = st.one_of(
    st.tuples(st.just("configure"), configs()),
    st.tuples(st.just("live"), st.integers(1, 12)),
    st.tuples(st.just("live"), st.integers(1, 12)),
    st.tuples(st.just("tenant"), st.tuples(st.integers(0, 1), st.sampled_from([0, 3000, 7500]))),
    st.tuples(st.just("tenant"), st.tuples(st.integers(0, 1), st.integers(0, 8000))),
    st.tuples(st.just("behave"), st.none()),
    st.tuples(st.just("be blind"), st.floats(0.1, 20.0)),
    st.tuples(st.just("crash"), st.integers(0, 5)),
    st.tuples(st.just("out of memory"), st.integers(0, 5)),
    st.tuples(st.just("card error"), st.integers(0, 5)),
)


def live_through(machine: Machine, history: list[tuple[str, object]]) -> None:
    for what, value in history:
        instances = machine.fleet.instances()
        match what, value:
            case "configure", Wanted() as asked:
                machine.wanted = asked
                machine.step()
            case "live", int(seconds):
                machine.live(seconds)
            case "tenant", (int(index), int(mb)):
                machine.foreign[index] = mb
            case "behave", _:
                machine.behave()
            case "be blind", float(seconds):
                machine.pass_time(seconds)
                machine.step()
            case "crash", int(n) if instances:
                machine.step(machine.end(instances[n % len(instances)].id, -11))
            case "out of memory", int(n) if instances:
                victim = instances[n % len(instances)].id
                machine.step(machine.end(victim, wire.EXIT_NO_DEVICE_MEMORY))
            case "card error", int(n) if instances:
                victim = instances[n % len(instances)].id
                last_words = Farewell("CUDA error", False, FallbackReason.GPU_ERROR)
                crash = machine.end(victim, wire.EXIT_CRASHED)
                machine.step(SaidFarewell(victim, last_words), crash)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=configs(), cards=st.integers(1, 2), history=st.lists(operations, max_size=20))
def test_no_card_is_ever_over_committed_and_all_come_back_when_memory_is_ample(
    first: Wanted, cards: int, history: list[tuple[str, object]]
) -> None:
    machine = Machine(first, [8000] * cards)
    machine.look()
    live_through(machine, history)

    machine.foreign.clear()
    machine.totals = [80_000] * cards
    machine.live(150)

    for name, version in machine.wanted.versions.items():
        running = [i for i in machine.fleet.slot(name).instances if i.state is State.RUNNING]
        assert len(running) == version.replicas, machine.fleet
        for instance in running:
            assert bool(instance.spec.gpu) == (version.wish.device != "cpu"), machine.fleet

    machine.wanted = NOTHING
    machine.live(30)

    assert machine.fleet.instances() == ()
