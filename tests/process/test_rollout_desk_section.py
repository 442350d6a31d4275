"""What the supervisor makes of the config's section on a rollout."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank_server.core.traffic import Traffic
from tests.process.rollout_place import LIVE, LOADING, SECTION, Place, by_rollout


def test_a_section_of_the_config_begins_a_rollout_by_itself(place: Place) -> None:
    none = {"advanced": 0, "aborted": 0, "done": 0}
    zeros = {"v1": none, "v2": none, "v3": none}
    assert place.shown() == {"current": None, "outcomes": zeros}

    place.configured(SECTION)
    published = place.turn()

    assert place.events() == ["started", "begun"]
    assert published.traffic == by_rollout(5.0)
    assert (place.current()["state"], place.current()["by"]) == ("running", "config")
    assert place.shown()["outcomes"] == zeros


def test_it_waits_for_its_arm_to_load(place: Place) -> None:
    place.fleet = LOADING
    place.configured(SECTION)

    assert place.turn(600).traffic == Traffic()
    place.fleet = LIVE
    assert place.turn().traffic == by_rollout(5.0)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_the_same_section_begins_only_once(place: Place, is_restarted: bool) -> None:
    place.configured(SECTION)
    place.turn()
    place.order(action="abort")

    if is_restarted:
        place.restarted()
    place.configured(SECTION, server={"port": 1})
    place.turn()

    assert place.events() == ["started", "begun", "aborted"]


def test_a_changed_section_leads_the_same_arm_on_from_its_share(place: Place) -> None:
    place.configured(SECTION)
    place.turn()

    place.configured({**SECTION, "steps": [2, 30, 100], "interval_s": 80})

    assert place.turn().traffic == by_rollout(5.0)
    found = place.current()
    assert (found["steps"], found["step"]) == ([2.0, 5.0, 30.0, 100.0], 2)
    assert (found["state"], found["interval_s"]) == ("running", 80.0)
    assert place.events() == ["started", "begun", "changed"]


@pytest.mark.parametrize(
    ("steps", "state"), [([5, 50], "done"), ([100], "done"), ([5, 100], "done")]
)
def test_an_edit_of_its_section_takes_nothing_from_one_that_is_done(
    place: Place, steps: list[float], state: str
) -> None:
    place.configured(SECTION)
    place.order(action="promote")
    place.order(action="promote")

    place.configured({**SECTION, "steps": steps, "interval_s": 80})

    assert place.turn().traffic == by_rollout(100.0)
    assert place.current()["state"] == state


def test_a_section_for_another_version_begins_anew_and_one_taken_out_ends_it(
    place: Place,
) -> None:
    place.configured({**SECTION, "to": "v3"})
    place.turn()
    place.fleet = LIVE
    place.configured({**SECTION, "steps": [7]})
    assert place.turn().traffic == by_rollout(7.0)

    place.configured(None)

    assert place.turn().traffic == Traffic()
    assert place.events() == ["started", "superseded", "started", "begun", "aborted"]
    assert place.current()["reason"] == "its section was taken out of the config"


def test_a_section_takes_over_the_rollout_that_an_operator_began(place: Place) -> None:
    place.order(action="start", to="v2", steps=[3])

    place.configured(SECTION)

    assert place.turn().traffic == by_rollout(3.0)
    assert (place.current()["by"], place.current()["steps"]) == ("config", [3.0, 5.0, 100.0])


def test_an_operators_rollout_needs_no_section(place: Place) -> None:
    place.order(action="start", to="v2", steps=[3])
    place.configured(None, server={"port": 1})

    assert place.turn().traffic == by_rollout(3.0)


def test_when_its_arm_becomes_the_default_it_is_finished(place: Place) -> None:
    place.configured(SECTION)
    place.order(action="promote")

    place.configured(None, default="v2")
    assert place.current()["state"] == "running"
    place.fleet = replace(LIVE, default="v2")
    published = place.turn()

    assert published.traffic == Traffic()
    assert place.shown()["current"] is None
    assert place.events()[-1] == "finished"


@pytest.mark.parametrize("orders", [("start",), ("promote", "promote")])
def test_an_arm_that_is_switched_off_ends_it(place: Place, orders: tuple[str, ...]) -> None:
    place.order(action="start", to="v2")
    place.turn()
    for order in orders:
        place.order(action=order)

    place.configured(None, off="v2")

    assert place.turn().traffic == Traffic()
    assert place.current()["reason"] == "v2 is not enabled any more"
