"""How the cards, and versions on them, are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core import snapshot, status
from rerank_server.core.devices import NO_GPUS, Devices, Sight
from rerank_server.core.publish import gpu_state
from tests.core.cards import card, look
from tests.core.state_json import TIME, instance, state, version


def line(*instances: dict[str, object], degraded: str | None = None) -> str:
    read = snapshot.read(state(version("v1", "RUNNING", *instances, degraded=degraded)))
    return status.line(read.versions[0])


def on(index: int, pid: int, *, replica: int, number: int | None = None) -> dict[str, object]:
    one = instance("v1", number or pid, pid, device=f"cuda:{index}")
    return {**one, "replica": replica}


def shown(devices: Devices, now: float = 5.0) -> list[str]:
    read = snapshot.read({**state(), "gpu": gpu_state(devices, now)})
    return [text for text in status.verbose(read, TIME) if text.startswith("gpu")]


def test_each_replica_is_listed_with_its_place() -> None:
    found = line(on(0, 7, replica=0), on(1, 8, replica=1))

    assert found == "v1: RUNNING (PID: 7, GPU: 0; PID: 8, GPU: 1)"


def test_of_one_replica_the_youngest_process_is_listed() -> None:
    found = line(on(0, 7, replica=0, number=1), on(0, 9, replica=0, number=2))

    assert found == "v1: RUNNING (PID: 9, GPU: 0)"


def test_a_degraded_version_says_why_in_its_line() -> None:
    found = line(instance("v1", 1, 7), degraded="gpu 0 has 900 MB free, needs 1500")

    assert found == "v1: RUNNING (PID: 7, CPU, degraded: gpu 0 has 900 MB free, needs 1500)"


def test_why_a_version_is_degraded_stands_among_its_details() -> None:
    read = snapshot.read(state(version("v1", "RUNNING", instance("v1", 1, 7), degraded="why")))

    assert "  degraded  why" in status.verbose(read, TIME)


@pytest.mark.parametrize(
    ("sight", "expected"),
    [
        (NO_GPUS, []),
        (Sight(0.0, None), []),
        (Sight(0.0, None, trouble="Unknown Error"), ["gpu: Unknown Error"]),
        (look(card(free=900), at=4.0), ["gpu 0: Fake, 900 of 8000 MB free"]),
        (look(card(free=900), at=-15.0), ["gpu 0: Fake, 900 of 8000 MB free 20 s ago"]),
        (look(card(free=0, is_lost=True), at=4.0), ["gpu 0: Fake, lost"]),
        (
            replace(look(card(free=9), at=4.0), trouble="Driver Not Loaded"),
            ["gpu 0: Fake, 9 of 8000 MB free", "gpu: Driver Not Loaded"],
        ),
    ],
    ids=["no driver", "not seen yet", "trouble", "seen", "old", "lost", "trouble after a look"],
)
def test_the_cards_are_shown_in_detail(sight: Sight, expected: list[str]) -> None:
    assert shown(Devices(sight=sight)) == expected


def test_gpus_that_are_no_list_are_refused() -> None:
    with pytest.raises(ValueError, match="gpus: not a list"):
        snapshot.read({**state(), "gpu": {"gpus": 3}})
