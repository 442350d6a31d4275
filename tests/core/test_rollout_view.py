from __future__ import annotations

import json

import pytest

from rerank_server.core import rollout_view, snapshot, status
from rerank_server.core.evidence import Figures
from rerank_server.core.rollout import Course, Rollout, State, abort, pause, promote
from rerank_server.core.rollout_json import rollout_shown
from tests.core.rollout_build import COURSE, begun, figures, quarter, seen
from tests.core.state_json import TIME, arms, state, version

RUNNING, _ = quarter(begun(), seen(figures(80, 1, compared=20)))
PROMOTED = promote(quarter(begun(), seen(Figures()))[0])
ABORTED = quarter(begun(), seen(figures(60, 30, compared=60)))[0]


def shown(rollout: Rollout | None, **traffic: float) -> snapshot.Snapshot:
    current = None if rollout is None else json.loads(json.dumps(rollout_shown(rollout)))
    return snapshot.read(
        state(
            version("v2-m3", "RUNNING", default=True),
            rollout=current,
            traffic=arms("rollout", **traffic) if traffic else None,
        )
    )


def view(rollout: Rollout) -> rollout_view.RolloutView:
    found = shown(rollout).rollout
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("rollout", "line"),
    [
        (Rollout(COURSE), "rollout: v2-gemma running at 0%, waits until v2-gemma runs"),
        (RUNNING, "rollout: v2-gemma running at 1%, step 1 of 3"),
        (pause(RUNNING), "rollout: v2-gemma paused at 1%, step 1 of 3"),
        (PROMOTED, "rollout: v2-gemma running at 100%, step 3 of 3"),
        (promote(PROMOTED), "rollout: v2-gemma done at 100%"),
        (ABORTED, "rollout: v2-gemma aborted at 0%"),
    ],
)
def test_status_has_a_line_for_it(rollout: Rollout, line: str) -> None:
    assert status.lines(shown(rollout)) == ["v2-m3: RUNNING", line]
    assert line in status.verbose(shown(rollout), TIME)


def test_status_has_it_below_the_shares() -> None:
    assert status.lines(shown(RUNNING, v2_gemma=1.0))[1:] == [
        "traffic: v2-gemma 1%, v2-m3 99% (rollout)",
        "rollout: v2-gemma running at 1%, step 1 of 3",
    ]


def test_one_promoted_beyond_its_steps_says_so() -> None:
    rollout = promote(begun(Course("v2-gemma", steps=(1.0, 10.0))))

    assert rollout_view.line(view(rollout)) == "rollout: v2-gemma running at 100%, promoted"


def test_its_own_page_says_how_each_guard_stands() -> None:
    assert rollout_view.lines(view(RUNNING)) == [
        "v2-gemma running at 1%, step 1 of 3",
        "  time        10 s of 40 s",
        "  error_ratio holds: 1 of 80 requests failed or were answered by another version "
        "(at most 2.00%; of the others 0 of 1000)",
        "  p95_ratio   holds: p95 is 0.7 ms, that of the others 0.7 ms (at most 1.5 times)",
        "  mirror_tau  open: mean tau is unknown (20 rankings compared in this step, "
        "0 copies failed; at least 0.6)",
    ]


def test_its_own_page_says_why_it_ended() -> None:
    lines = rollout_view.lines(view(ABORTED))

    assert lines[0] == "v2-gemma aborted at 0%"
    assert lines[1].startswith("  reason      error_ratio: 30 of 60 requests failed")
    assert lines[2].startswith("  error_ratio broken: 30 of 60")
    assert rollout_view.lines(view(Rollout(COURSE))) == [
        "v2-gemma running at 0%, waits until v2-gemma runs"
    ]


@pytest.mark.parametrize(
    ("rollout", "advice"),
    [
        (Rollout(COURSE), "it begins once v2-gemma runs: rerank-server status"),
        (RUNNING, "it goes on by itself; rerank-server rollout pause, abort or promote"),
        (pause(RUNNING), "to go on: rerank-server rollout resume"),
        (ABORTED, "to begin anew: rerank-server rollout start v2-gemma"),
        (
            promote(PROMOTED),
            "to finish: make v2-gemma the default_version in config.yaml, take the rollout section "
            "out and reload",
        ),
    ],
)
def test_it_says_what_to_do_next(rollout: Rollout, advice: str) -> None:
    assert rollout_view.advice(view(rollout)) == advice


def test_one_that_is_done_early_is_to_be_promoted() -> None:
    course = Course("v2-gemma", steps=(10.0,))
    done = Rollout(course, state=State.DONE, step=0)

    assert rollout_view.advice(view(done)).startswith("to finish: rerank-server rollout promote, ")


def test_status_warns_of_one_that_was_aborted() -> None:
    aborted = abort(RUNNING, "asked to\nby ann")

    assert status.warnings(shown(aborted), TIME) == [
        "the rollout to v2-gemma was aborted: asked to"
    ]
    assert status.warnings(shown(RUNNING), TIME) == []


def test_status_json_has_all_of_it() -> None:
    assert status.to_json(shown(None))["rollout"] is None
    found = status.to_json(shown(RUNNING))["rollout"]

    assert isinstance(found, dict)
    assert (found["to"], found["state"], found["step"]) == ("v2-gemma", "running", 1)
    assert found["figures"]["requests"] == 80


def test_a_state_of_an_older_server_has_none() -> None:
    old = state()
    del old["rollout"]

    assert snapshot.read(old).rollout is None


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 5}, {"findings": {}}, {"findings": [5]}, {"state": "asleep"}, {"share": "x"}],
)
def test_another_object_is_refused(wrong: dict[str, object]) -> None:
    current = {**json.loads(json.dumps(rollout_shown(RUNNING))), **wrong}

    with pytest.raises(ValueError, match=r"."):
        snapshot.read(state(rollout=current))
