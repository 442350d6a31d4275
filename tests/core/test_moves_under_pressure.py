"""Leaving a card that others fill."""

from __future__ import annotations

import pytest

from rerank_server.core.placed import placed
from rerank_server.core.publish import version_state
from rerank_server.core.stats import VersionStats
from rerank_server.core.types import State
from rerank_server.core.wanted import WantedVersion
from tests.core.cards import wishing
from tests.core.story import falling, story

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
