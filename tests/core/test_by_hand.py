from __future__ import annotations

import pytest

from rerank_server.core.by_hand import is_hand, no_process, refusal
from rerank_server.core.devices import Devices, Gpu, Seat
from rerank_server.core.memory import Scene
from rerank_server.core.traffic import Stage
from rerank_server.core.types import Fleet
from rerank_server.core.wanted import WantedVersion
from tests.core.build import version, wanted
from tests.core.cards import GPU_POLICY, card, look, wishing

OFF = version(enabled=False)
BROKEN = version(problem="no model files")


def asked(
    one: WantedVersion, hand: str | None, *cards: Gpu, host: int | None = None, seat: Seat | None
) -> str | None:
    devices = Devices(sight=look(*cards, host=host)).with_seat("v1", 0, seat)
    return refusal(Scene(wanted(one), Fleet(devices=devices), 0.0, GPU_POLICY), "v1", hand)


@pytest.mark.parametrize(
    ("one", "hand", "cards", "why"),
    [
        (wishing(), "cpu", [], "this host has no GPU to move a version to or from"),
        (wishing(), "north", [card(free=8000)], "'north' is no place to move to; there are cpu,"),
        (wishing(), None, [card(free=8000)], "None is no place to move to"),
        (OFF, "gpu", [card(free=8000)], "v1 is not running; it is disabled"),
        (BROKEN, "gpu", [card(free=8000)], "v1 is not running; no model files"),
        (wishing(), "gpu", [card(free=900)], "gpu 0 has 900 MB free, needs 2000"),
        (wishing(device="cuda:1"), "gpu", [card(free=8000)], "no GPU for device: cuda:1"),
        (wishing(), "cpu", [card(free=900)], "the host has 300 MB free, the CPU needs 400"),
    ],
)
def test_a_move_that_cannot_be_is_refused_with_the_reason(
    one: WantedVersion, hand: str | None, cards: list[Gpu], why: str
) -> None:
    found = asked(one, hand, *cards, host=300, seat=None)

    assert found is not None
    assert found.startswith(why)


@pytest.mark.parametrize(
    ("hand", "free", "seat"),
    [
        ("auto", 0, None),
        ("cpu", 0, None),
        ("gpu", 2000, None),
        ("gpu", 0, Seat(gpu="GPU-0")),
    ],
    ids=["to the rules", "to the CPU", "to a card with room", "to where it is"],
)
def test_any_other_move_is_taken(hand: str, free: int, seat: Seat | None) -> None:
    assert asked(wishing(), hand, card(free=free), seat=seat) is None


def test_hands_are_three_words() -> None:
    assert [word for word in ("cpu", "gpu", "auto", "cuda:0", None) if is_hand(word)] == [
        "cpu",
        "gpu",
        "auto",
    ]


def test_a_cascade_has_no_process_to_do_anything_to() -> None:
    both = wanted(version("v1"), version("v2", cascade=(Stage("v1", 3), Stage("v3"))))

    assert no_process(both, "v1") is None
    assert no_process(both, None) is None
    assert no_process(both, "v2") == (
        "v2 is a cascade and has no process of its own; name one of its stages: v1, v3"
    )
