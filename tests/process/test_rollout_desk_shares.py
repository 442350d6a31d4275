"""Shares and copies while a rollout is under way."""

from __future__ import annotations

import pytest

from rerank_server.core.traffic import Mirror
from tests.process.rollout_place import LOADING, Place, by_rollout


def test_the_other_shares_shrink_to_what_it_leaves(place: Place) -> None:
    place.configured(None, traffic={"v3": 40})
    place.order(action="start", to="v2", steps=[50])

    found = {arm.version: arm.share for arm in place.turn().traffic.arms}

    assert found == {"v2": 50.0, "v3": 20.0}


@pytest.mark.parametrize("order", ["start", "start after an abort"])
def test_before_it_begins_nothing_is_sent_there(place: Place, order: str) -> None:
    place.configured(None, traffic={"v2": 10})
    if order == "start after an abort":
        place.order(action="start", to="v2")
        place.order(action="abort")
    place.fleet = LOADING

    place.order(action="start", to="v2")

    assert place.turn().traffic == by_rollout(0.0)


@pytest.mark.parametrize("spoken", ["by an operator", "by a reset", "by the config"])
def test_an_aborted_one_leaves_its_arm_nothing_until_somebody_speaks(
    place: Place, spoken: str
) -> None:
    place.configured(None, traffic={"v2": 10})
    place.order(action="start", to="v2")
    place.turn()
    place.order(action="abort")
    assert place.turn().traffic == by_rollout(0.0)
    place.restarted()
    assert place.turn().traffic == by_rollout(0.0)

    if spoken == "by an operator":
        assert place.ask("traffic", {"shares": {"v2": 10.0}}) == "applied"
    elif spoken == "by a reset":
        assert place.ask("traffic", {"shares": None}) == "applied"
    else:
        place.configured(None, traffic={"v2": 9})

    assert [arm.share for arm in place.turn().traffic.arms] != [0.0]
    place.restarted()
    assert [arm.share for arm in place.turn().traffic.arms] != [0.0]


def test_a_word_that_is_refused_gives_an_aborted_one_nothing(place: Place) -> None:
    place.configured(None, traffic={"v2": 10})
    place.order(action="start", to="v2")
    place.order(action="abort")

    assert place.ask("traffic", {"shares": {"v9": 10.0}}).startswith("no version 'v9'")

    assert place.turn().traffic == by_rollout(0.0)


def test_a_guard_on_rankings_brings_its_own_mirror(place: Place) -> None:
    place.order(action="start", to="v2", mirror_tau=0.5)
    assert place.turn().mirror == Mirror("v2", 0.1)

    place.configured(None, mirror={"to": "v2", "share": 0.5})
    assert place.turn().mirror == Mirror("v2", 0.5)
    place.configured(None)
    assert place.turn().mirror == Mirror("v2", 0.1)
    place.order(action="abort")

    assert place.turn().mirror is None


def test_a_guard_on_rankings_is_not_starved_by_a_mirror_to_another_version(place: Place) -> None:
    place.order(action="start", to="v2", mirror_tau=0.5)

    place.configured(None, mirror={"to": "v3", "share": 0.5})
    assert place.turn().mirror == Mirror("v2", 0.1)
    place.order(action="abort")

    assert place.turn().mirror == Mirror("v3", 0.5)
