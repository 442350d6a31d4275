"""Leaving a card and coming back to it, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from rerank_server.core import wire
from rerank_server.core.absence import absent, degraded
from rerank_server.core.devices import GpusSeen, Sight, WasMoved
from rerank_server.core.lifecycle import apply, forget, issue
from rerank_server.core.moves import recover_delay
from rerank_server.core.placed import place, placed
from rerank_server.core.publish import version_state
from rerank_server.core.reconcile import reconcile
from rerank_server.core.routing import FallbackReason
from rerank_server.core.stats import VersionStats
from rerank_server.core.types import (
    BecameReady,
    CameLate,
    Drained,
    Event,
    Exited,
    Farewell,
    Fleet,
    SaidFarewell,
    State,
)
from rerank_server.core.wanted import MB, Wanted, WantedVersion
from tests.core.build import POLICY as PLAIN
from tests.core.build import wanted
from tests.core.cards import GPU_POLICY, card, wishing

POLICY = replace(PLAIN, beat_timeout_s=1e9, gpu=GPU_POLICY)


@dataclass
class Story:
    """A server with one or two cards, told second by second; its workers do as they are told."""

    wanted: Wanted
    free: list[int]
    """MB free on each card, as its driver says."""
    fleet: Fleet = field(default_factory=Fleet)
    now: float = 0.0
    host: int | None = None
    lost: set[int] = field(default_factory=set)
    stubborn: bool = False
    """Whether processes that were started do not become ready."""

    def sight(self) -> Sight:
        gpus = [
            card(n, free=free, total=16_000, is_lost=n in self.lost)
            for n, free in enumerate(self.free)
        ]
        host = None if self.host is None else self.host * MB
        return Sight(self.now, tuple(gpus), host_free_bytes=host)

    def step(self, *events: Event) -> None:
        for event in events:
            self.fleet = apply(self.fleet, event, self.now, POLICY)
        while True:
            self.fleet = place(self.wanted, self.fleet, self.now, GPU_POLICY)
            asked = placed(self.wanted, self.fleet)
            self.fleet = forget(asked, self.fleet)
            actions = reconcile(asked, self.fleet, self.now, POLICY)
            for action in actions:
                self.fleet = issue(self.fleet, action, self.now)
            if not actions:
                return

    def answer(self) -> None:
        """Let each process do what it was told."""
        for i in self.fleet.instances():
            match i.state:
                case State.STARTING if not self.stubborn:
                    self.step(BecameReady(i.id, {}))
                case State.DRAINING:
                    self.step(Drained(i.id))
                case State.STOPPING:
                    self.step(Exited(i.id, 0, "done"))

    def live(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1.0
            self.step(GpusSeen(self.sight()))
            self.answer()

    def end(self, version: str, code: int, *, cause: FallbackReason | None = None) -> None:
        """End the version's last process by itself."""
        last = self.fleet.slot(version).instances[-1]
        if cause is not None:
            self.step(SaidFarewell(last.id, Farewell("CUDA error: illegal access", False, cause)))
        self.step(Exited(last.id, code, "ended"))

    def where(self, version: str) -> list[str]:
        instances = self.fleet.slot(version).instances
        return [i.spec.device for i in instances if i.state is State.RUNNING]

    def why(self, version: str) -> str | None:
        asked = placed(self.wanted, self.fleet).versions[version]
        found = degraded(asked, self.fleet.slot(version))
        return found.text if found is not None else None


def falling(name: str = "v1", threshold: int = 1500, **more: str) -> WantedVersion:
    return wishing(name, need=1000, threshold=threshold, fallback=True, **more)  # type: ignore[arg-type]  # strings


def story(*versions: WantedVersion, free: int = 8000, cards: int = 1) -> Story:
    told = Story(wanted(*versions), [free] * cards)
    told.step(GpusSeen(told.sight()))
    told.live(5 * len(versions))
    return told


# --- pressure -----------------------------------------------------------------------------------


def test_pressure_moves_a_version_to_the_cpu_and_relief_brings_it_back() -> None:
    told = story(falling())
    assert (told.where("v1"), told.why("v1")) == (["cuda:0"], None)

    told.free = [900]
    told.live(6)
    assert told.where("v1") == ["cpu"]
    assert told.why("v1") == "gpu 0 has 900 MB free, needs 1500"
    assert told.fleet.slot("v1").instances[0].spec.model == "model_cpu"

    told.free = [2699]  # its own need, its threshold and the margin: 2700
    told.live(60)
    assert told.where("v1") == ["cpu"]
    told.free = [2700]
    told.live(9)
    assert told.where("v1") == ["cpu"]
    told.live(5)
    assert (told.where("v1"), told.why("v1")) == (["cuda:0"], None)


def test_the_process_on_the_card_serves_until_the_one_on_the_cpu_does() -> None:
    told = story(falling())
    told.stubborn = True

    told.free = [900]
    told.live(20)
    states = [(i.spec.device, i.state) for i in told.fleet.instances()]
    assert states == [("cuda:0", State.RUNNING), ("cpu", State.STARTING)]
    assert told.why("v1") is None

    told.stubborn = False
    told.live(3)
    assert told.where("v1") == ["cpu"]


def test_pressure_shorter_than_it_must_last_moves_nothing() -> None:
    told = story(falling())

    for _ in range(20):
        told.free = [900]
        told.live(2)
        told.free = [1500]
        told.live(1)

    assert told.where("v1") == ["cuda:0"]
    assert told.fleet.devices.moved_at == {}


@pytest.mark.parametrize(
    "version",
    [
        wishing(need=1000, threshold=1500),
        falling(threshold=0),
        falling(device="cuda:1"),
    ],
    ids=["no fallback", "no threshold", "another card"],
)
def test_pressure_moves_only_who_may_and_is_concerned(version: WantedVersion) -> None:
    told = story(version, cards=2)

    told.free = [0 if version.wish.device != "cuda:1" else 100, 8000]
    if version.wish.device == "auto":
        told.free = [100, 100]
    told.live(20)

    assert told.fleet.devices.moved_at == {}


def test_versions_leave_a_card_one_at_a_time_the_default_last() -> None:
    told = story(falling("v1"), falling("v2"), falling("v3"))

    told.free = [100]
    order: list[str] = []
    for _ in range(60):
        told.live(1)
        order += [v for v in ("v1", "v2", "v3") if told.where(v) == ["cpu"] and v not in order]
        moving = [i for i in told.fleet.instances() if i.state is not State.RUNNING]
        assert len({i.spec.version for i in moving}) <= 1

    assert order == ["v3", "v2", "v1"]


def test_after_one_has_left_the_memory_is_measured_again() -> None:
    told = story(falling("v1"), falling("v2"))

    told.free = [1000]
    while told.where("v2") != ["cpu"]:
        told.live(1)
    told.free = [2000]
    told.live(60)

    assert told.where("v1") == ["cuda:0"]


def test_none_leaves_without_host_memory_for_it() -> None:
    told = story(falling("v1"))
    told.host = 100

    told.free = [100]
    told.live(30)

    assert told.where("v1") == ["cuda:0"]


# --- the way back -------------------------------------------------------------------------------


def test_flapping_pressure_makes_each_way_back_longer() -> None:
    told = story(falling())
    waits = []

    for _ in range(4):
        told.free = [900]
        while told.where("v1") != ["cpu"]:
            told.live(1)
        told.free = [8000]
        began = told.now
        while told.where("v1") != ["cuda:0"]:
            told.live(1)
        waits.append(told.now - began)

    assert [round(wait, -1) for wait in waits] == [10, 20, 40, 40]
    assert dict(told.fleet.devices.placement("v1").moves) == {FallbackReason.GPU_MEMORY: 4}


def test_a_long_time_on_the_card_makes_the_next_way_back_short_again() -> None:
    told = story(falling())
    for _ in range(2):
        told.free = [900]
        told.live(10)
        told.free = [8000]
        told.live(30)
    assert told.where("v1") == ["cuda:0"]

    told.live(120)
    told.free = [900]
    told.live(10)
    told.free = [8000]
    told.live(16)

    assert told.where("v1") == ["cuda:0"]


def test_if_the_way_back_fails_the_process_on_the_cpu_goes_on() -> None:
    told = story(falling())
    told.free = [900]
    told.live(10)
    told.free = [8000]
    told.stubborn = True
    told.live(12)
    assert [i.spec.device for i in told.fleet.instances()] == ["cpu", "cuda:0"]

    told.end("v1", wire.EXIT_NO_DEVICE_MEMORY)

    assert told.where("v1") == ["cpu"]
    assert told.why("v1") == "gpu 0 has 900 MB free, needs 1500"
    assert told.fleet.slot("v1").failure is None
    told.stubborn = False
    told.live(15)
    assert told.where("v1") == ["cpu"]
    told.live(30)
    assert told.where("v1") == ["cuda:0"]


def test_if_the_process_on_the_cpu_cannot_start_the_one_on_the_card_goes_on() -> None:
    told = story(falling())
    told.stubborn = True
    told.free = [900]
    told.live(6)
    assert [i.spec.device for i in told.fleet.instances()] == ["cuda:0", "cpu"]

    told.end("v1", wire.EXIT_WOULD_FAIL_AGAIN)

    assert told.where("v1") == ["cuda:0"]
    told.live(8)
    assert [i.spec.device for i in told.fleet.instances()] == ["cuda:0"]


def test_a_way_back_that_closes_again_before_the_start_is_not_taken() -> None:
    told = story(falling("v1"))
    told.free = [900]
    told.live(10)
    told.free = [8000]
    told.live(8)
    assert told.fleet.devices.placement("v1").seats[0] is not None

    told.free = [1000]
    told.live(20)

    assert told.where("v1") == ["cpu"]


def test_a_card_process_that_dies_while_it_moves_does_not_stop_the_move() -> None:
    told = story(falling())
    told.stubborn = True
    told.free = [900]
    told.live(6)

    on_card = told.fleet.slot("v1").instances[0]
    told.step(Exited(on_card.id, -11, "killed"))
    told.stubborn = False
    told.live(3)

    assert told.where("v1") == ["cpu"]


def test_the_default_comes_back_first() -> None:
    told = story(falling("v1"), falling("v2"))
    told.free = [100]
    told.live(40)
    assert (told.where("v1"), told.where("v2")) == (["cpu"], ["cpu"])

    told.free = [8000]
    while told.where("v2") != ["cuda:0"]:
        told.live(1)
        if told.where("v2") == ["cuda:0"]:
            assert told.where("v1") == ["cuda:0"]
    told.live(1)


def test_the_wait_for_the_way_back_doubles_up_to_its_cap() -> None:
    waits = [recover_delay(falls, GPU_POLICY) for falls in range(6)]

    assert waits == [10.0, 10.0, 20.0, 40.0, 40.0, 40.0]


# --- cards that fail ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "cause", "reason", "text"),
    [
        (wire.EXIT_NO_DEVICE_MEMORY, None, FallbackReason.GPU_MEMORY, "gpu 0: ended"),
        (
            wire.EXIT_CRASHED,
            FallbackReason.GPU_ERROR,
            FallbackReason.GPU_ERROR,
            "gpu 0: CUDA error: illegal access",
        ),
    ],
)
def test_a_process_that_its_card_ended_is_placed_on_the_cpu_at_once(
    code: int, cause: FallbackReason | None, reason: FallbackReason, text: str
) -> None:
    told = story(falling())

    told.end("v1", code, cause=cause)

    coming = told.fleet.slot("v1").instances
    assert [(i.spec.device, i.state) for i in coming] == [("cpu", State.STARTING)]
    told.live(2)
    assert told.why("v1") == text
    assert dict(told.fleet.devices.placement("v1").moves) == {reason: 1}
    told.live(20)
    assert told.where("v1") == ["cuda:0"]


def test_a_process_without_memory_takes_another_card_that_has_some() -> None:
    told = story(falling(), cards=2)
    told.end("v1", wire.EXIT_NO_DEVICE_MEMORY)
    told.live(3)

    assert told.where("v1") == ["cuda:1"]
    assert told.why("v1") is None


def test_without_a_fallback_a_process_that_its_card_ended_is_started_there_again() -> None:
    told = story(wishing())

    told.end("v1", wire.EXIT_CRASHED, cause=FallbackReason.GPU_ERROR)
    version = placed(told.wanted, told.fleet).versions["v1"]
    assert absent(version, told.fleet.slot("v1")) is FallbackReason.GPU_ERROR
    told.live(8)

    assert told.where("v1") == ["cuda:0"]


def test_an_ordinary_crash_moves_nothing() -> None:
    told = story(falling())

    told.end("v1", -11)
    told.live(8)

    assert told.where("v1") == ["cuda:0"]
    assert dict(told.fleet.devices.placement("v1").moves) == {}


def test_a_lost_card_is_left_by_all_that_may() -> None:
    told = story(falling("v1"), wishing("v2", need=1000))

    told.lost = {0}
    told.live(3)

    assert told.where("v1") == ["cpu"]
    assert told.why("v1") == "gpu 0 is lost"
    assert told.where("v2") == ["cuda:0"]
    told.live(60)
    assert told.where("v1") == ["cpu"]


def test_a_silent_driver_moves_nobody() -> None:
    told = story(falling())

    told.now += 60.0
    told.step()
    told.step(GpusSeen(Sight(told.now, None, trouble="GPU access blocked")))

    assert told.where("v1") == ["cuda:0"]
    assert told.fleet.devices.sight.gpus is not None
    assert told.fleet.devices.sight.trouble == "GPU access blocked"


def test_a_supervisor_that_came_late_counts_none_of_that_time_as_pressure() -> None:
    told = story(falling())
    told.free = [900]
    told.live(2)

    told.now += 60.0
    told.step(CameLate(60.0))

    assert told.where("v1") == ["cuda:0"]
    assert told.fleet.devices.moved_at == {}


# --- by hand ------------------------------------------------------------------------------------


def test_a_version_moved_by_hand_stays_there_until_it_is_left_to_the_rules() -> None:
    told = story(falling())

    told.step(WasMoved("v1", "cpu"))
    told.live(60)
    assert told.where("v1") == ["cpu"]
    assert told.why("v1") is None

    told.step(WasMoved("v1", "auto"))
    told.live(3)
    assert told.where("v1") == ["cuda:0"]


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_version_moved_to_a_card_by_hand_ignores_its_threshold(device: str) -> None:
    told = story(falling(device=device))
    told.step(WasMoved("v1", "gpu"))
    told.live(5)
    assert told.where("v1") == ["cuda:0"]

    told.free = [100]
    told.live(30)

    assert told.where("v1") == ["cuda:0"]


def test_an_error_of_its_card_does_not_move_what_a_hand_put_there() -> None:
    told = story(falling())
    told.step(WasMoved("v1", "gpu"))

    told.end("v1", wire.EXIT_CRASHED, cause=FallbackReason.GPU_ERROR)
    told.live(8)

    assert told.where("v1") == ["cuda:0"]


# --- what is shown ------------------------------------------------------------------------------


def test_a_degraded_version_is_shown_with_its_reason_and_its_moves() -> None:
    told = story(falling())
    told.free = [900]
    told.live(8)
    version = placed(told.wanted, told.fleet).versions["v1"]
    moves = told.fleet.devices.placement("v1").moves

    shown = version_state(
        version, told.fleet.slot("v1"), VersionStats(), {}, told.now, is_default=True, moves=moves
    )

    assert shown["degraded"] == "gpu 0 has 900 MB free, needs 1500"
    assert shown["degraded_reason"] == "gpu_memory"
    assert shown["moves"] == {"gpu_memory": 1}
    assert (shown["device"], shown["model"]) == ("cpu", "model_cpu")
