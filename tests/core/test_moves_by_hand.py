"""What a hand moves stays there."""

from __future__ import annotations

import pytest

from rerank_server.core import wire
from rerank_server.core.devices import WasMoved
from rerank_server.core.routing import FallbackReason
from tests.core.story import falling, story


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
