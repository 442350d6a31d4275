"""A rollout's way through its file."""

from __future__ import annotations

import json
import math

import pytest

from rerank_server.core.evidence import Figures
from rerank_server.core.rollout import Course, Presence, restored
from rerank_server.core.rollout_json import course_json, rollout_from, rollout_json
from rerank_server.core.rollout_step import step
from tests.core.rollout_build import COURSE, begun, figures, quarter, seen, without_tau


def test_a_server_started_anew_keeps_the_step_and_waits_for_the_arm() -> None:
    rollout, _ = quarter(begun(), seen())
    text = json.dumps(rollout_json(rollout))

    again = restored(rollout_from(json.loads(text)))
    assert (again.share, again.total, again.elapsed_s) == (1.0, rollout.total, 10.0)
    waiting, _ = step(again, seen(figures(9, 9), Presence.STARTING), 99_000.0)
    live, _ = step(waiting, seen(figures(9, 9)), 99_100.0)
    later, _ = step(live, seen(Figures()), 99_101.0)

    assert (later.share, later.total, later.elapsed_s) == (1.0, rollout.total, 11.0)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "asleep"},
        {"step": 4},
        {"step": -2},
        {"recent": []},
        {"recent": {}},
        {"findings": None},
        {"total": None},
        {"total": []},
        {"course": {"to": "v1", "steps": [], "interval_s": 1, "guards": {"mirror_tau": None}}},
        {"course": {"to": "v1", "steps": 5, "interval_s": 1, "guards": {"mirror_tau": None}}},
        {"course": {**course_json(COURSE), "interval_s": 0}},
        {"course": {**course_json(COURSE), "interval_s": math.nan}},
        {"course": {**course_json(COURSE), "interval_s": math.inf}},
        {"course": {**course_json(COURSE), "steps": [5.0, 1.0, 100.0]}},
        {"course": {**course_json(COURSE), "steps": [0.0, 1.0, 100.0]}},
        {"course": {**course_json(COURSE), "steps": [1.0, math.nan, 100.0]}},
        {"course": {**course_json(COURSE), "steps": [1.0, 10.0, 101.0]}},
        {"elapsed_s": math.nan},
        {"silent_s": -math.inf},
    ],
)
def test_another_file_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        rollout_from({**rollout_json(begun()), **change})


def test_a_course_without_mirror_tau_survives_its_file_too() -> None:
    rollout, _ = quarter(begun(without_tau(Course("v1"))), seen(Figures()))

    assert rollout_from(json.loads(json.dumps(rollout_json(rollout)))) == rollout
