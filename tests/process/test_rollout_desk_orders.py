"""What the supervisor makes of an operator's orders on a rollout."""

from __future__ import annotations

import pytest

from tests.process.rollout_place import SECTION, Place


def test_an_order_starts_one_by_the_sections_course_or_its_own(place: Place) -> None:
    place.configured(SECTION)
    place.order(action="abort")

    assert place.order(action="start", p95_ratio=3, mirror_tau=0.5) == "applied"
    found = place.current()
    assert (found["steps"], found["interval_s"]) == ([5.0, 100.0], 8.0)
    assert found["guards"] == {
        "error_ratio": 0.1,
        "p95_ratio": 3.0,
        "min_requests": 10,
        "mirror_tau": 0.5,
    }
    place.order(action="abort")
    assert place.order(action="start", to="v3") == "applied"
    assert place.current()["steps"] == [1.0, 5.0, 25.0, 50.0, 100.0]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"action": "start"}, "to which version? config.yaml has no rollout section"),
        ({"action": "start", "to": "v22"}, "to: 'v22' is not a version here; did you mean 'v2'?"),
        ({"action": "start", "to": "v1"}, "to: 'v1' is the default version already"),
        ({"action": "start", "to": "v2", "steps": [5, 1]}, "steps: must rise from step to step"),
        ({"action": "start", "to": "v2", "steps": []}, "steps: list should have at least 1"),
        ({"action": "start", "to": "v2", "min_requests": 0}, "min_requests: input should be"),
        ({"action": "start", "to": 5}, "to: input should be a valid string"),
        ({"action": "pause"}, "there is no rollout; begin one with: rerank-server rollout start"),
        ({"action": "dance"}, "action: 'dance' is none of start, pause, resume, abort, promote"),
        ({}, "action: None is none of start"),
    ],
)
def test_an_order_that_cannot_be_is_refused(
    place: Place, said: dict[str, object], why: str
) -> None:
    assert place.order(**said).startswith(why)
    assert place.events() == []


def test_a_version_that_is_off_or_that_the_mirror_is_not_for_is_refused(place: Place) -> None:
    place.configured(None, off="v3", mirror={"to": "v2"})

    assert place.order(action="start", to="v3").startswith("to: 'v3' is not enabled")
    place.configured(None, mirror={"to": "v2"})
    refused = place.order(action="start", to="v3", mirror_tau=0.5)
    assert refused == "mirror_tau: needs a mirror to v3, and mirror.to is v2; change one"


def test_there_is_one_rollout_at_a_time(place: Place) -> None:
    place.order(action="start", to="v2", steps=[5, 50])

    refused = place.order(action="start", to="v3")
    assert refused == ("a rollout to v2 is under way; end it first: rerank-server rollout abort")
    place.turn()
    assert place.order(action="promote") == "applied"
    assert place.order(action="promote") == "applied"
    assert place.order(action="start", to="v3").startswith("v2 holds 100% after its rollout; make")
    assert place.order(action="pause") == "the rollout to v2 is done; there is nothing to pause"
    assert place.order(action="abort") == "applied"
    assert place.order(action="promote").startswith("the rollout to v2 was aborted")
    assert place.events() == ["started", "begun", "promoted", "promoted", "aborted"]


def test_to_start_a_paused_one_lets_it_go_on(place: Place) -> None:
    place.order(action="start", to="v2")
    place.order(action="pause")

    assert place.order(action="start") == "applied"
    assert place.current()["state"] == "running"
    place.order(action="pause")
    assert place.order(action="start", to="v2") == "applied"
    place.order(action="pause")
    assert place.order(action="start", to="v2", steps=[9]).startswith("a rollout to v2 is under")


def test_while_it_is_under_way_nobody_sets_shares(place: Place) -> None:
    place.order(action="start", to="v2")

    refused = place.ask("traffic", {"shares": {"v3": 10.0}})

    assert refused == (
        "a rollout to v2 is under way and decides the shares; end it first: "
        "rerank-server rollout abort"
    )


def test_once_it_is_done_nobody_is_told_to_end_it(place: Place) -> None:
    place.order(action="start", to="v2")
    place.order(action="promote")
    place.order(action="promote")

    refused = place.ask("traffic", {"shares": {"v3": 10.0}})

    assert refused == (
        "v2 holds 100% after its rollout; make it the default_version and reload, or take all "
        "of it back: rerank-server rollout abort"
    )
