"""What one turn of the loop changes of a rollout."""

from __future__ import annotations

from rerank_server.supervisor.desired import Overrides, desire
from tests.process.rollout_place import LOADING, Place, by_rollout


def test_one_whose_arm_is_live_begins_in_the_turn_it_is_asked_for(place: Place) -> None:
    place.order(action="start", to="v2", steps=[5, 50])

    assert place.current()["share"] == 5.0
    assert place.flow.directed(place.desired).traffic == by_rollout(5.0)


def test_an_arm_that_does_not_run_is_not_promoted(place: Place) -> None:
    place.fleet = LOADING
    place.order(action="start", to="v2", steps=[5, 50])

    assert place.order(action="promote").startswith("v2 does not run: starting")

    assert place.current()["share"] == 0.0
    assert place.events() == ["started"]


def test_an_arm_that_is_gone_from_the_config_is_not_promoted(place: Place) -> None:
    place.order(action="start", to="v2")
    config = {"default_version": "v1", "versions": {"v1": {}, "v3": {}}}
    place.desired = desire(place.written(config), Overrides(), 3)

    assert place.order(action="promote") == "v2 does not run: it is not in the config"


def test_what_changes_nothing_is_no_event(place: Place) -> None:
    place.order(action="start", to="v2", steps=[5])
    for action in ("pause", "pause", "resume", "resume", "promote", "promote", "promote"):
        assert place.order(action=action) == "applied"

    assert place.events() == ["started", "begun", "paused", "resumed", "promoted", "promoted"]
