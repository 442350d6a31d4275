"""The verbs of a rollout."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from rerank_server.core.rollout import Rollout, abort
from rerank_server.core.rollout_json import rollout_shown
from tests.cli.conftest import Done, Fake
from tests.core.rollout_build import begun
from tests.core.state_json import state, version

RUNNING = replace(begun(), elapsed_s=20.0)


def started(fake: Fake, rollout: Rollout | None = RUNNING) -> None:
    shown = None if rollout is None else rollout_shown(rollout)
    picture = state(version("v2-m3", "RUNNING", default=True), rollout=shown)
    picture["time"] = time.time()
    fake.tell(state=picture)
    assert fake.start(wait="0").code in (0, 1)


def said(fake: Fake, *arguments: str) -> dict[str, object]:
    """Return what a verb asks of a server that does not answer."""
    assert fake.command("rollout", *arguments, "--timeout", "0").code == 1
    (file,) = fake.options.run.requests.glob("[!.]*.json")
    request = json.loads(file.read_text())
    assert request["verb"] == "rollout"
    return dict(request["said"])


def test_status_shows_how_far_it_came(fake: Fake) -> None:
    started(fake)

    done = fake.command("rollout", "status")

    assert done.code == 0
    assert done.out[:2] == ["v2-gemma running at 1%, step 1 of 3", "  time        20 s of 40 s"]
    assert [line.split()[0] for line in done.out[2:]] == ["error_ratio", "p95_ratio", "mirror_tau"]
    assert done.err == ["it goes on by itself; rerank-server rollout pause, abort or promote"]


def test_status_of_one_that_was_aborted_is_1(fake: Fake) -> None:
    started(fake, abort(RUNNING, "asked to by ann"))

    done = fake.command("rollout", "status")

    assert (done.code, done.out[:2]) == (
        1,
        ["v2-gemma aborted at 0%", "  reason      asked to by ann"],
    )


def test_status_without_one_says_how_to_begin(fake: Fake) -> None:
    started(fake, None)

    assert fake.command("rollout", "status") == Done(
        0, [], ["no rollout; begin one with: rerank-server rollout start VERSION"]
    )
    assert json.loads(fake.command("rollout", "status", "--json").out[0]) == {
        "schema": 1,
        "rollout": None,
    }


def test_status_gives_all_of_it_as_json(fake: Fake) -> None:
    started(fake)

    found = json.loads(fake.command("rollout", "status", "--json").out[0])["rollout"]

    assert (found["to"], found["share"], found["step"]) == ("v2-gemma", 1.0, 1)
    assert [guard["standing"] for guard in found["findings"]] == ["open"] * 3


@pytest.mark.parametrize("verb", ["start", "pause", "resume", "abort", "promote"])
def test_what_was_done_is_shown(fake: Fake, verb: str) -> None:
    started(fake)
    fake.tell(outcome={"verdict": "applied", "generation": 7})

    done = fake.command("rollout", verb)

    assert (done.code, done.out[0]) == (0, "v2-gemma running at 1%, step 1 of 3")


def test_what_the_server_refuses_is_1_with_its_reason(fake: Fake) -> None:
    started(fake)
    fake.tell(outcome={"verdict": "refused", "generation": 7, "error": "no", "reasons": {}})

    assert fake.command("rollout", "pause") == Done(1, [], ["error: refused: no"])


@pytest.mark.parametrize("verb", ["pause", "resume", "abort", "promote", "start"])
def test_a_verb_asks_for_what_it_is_called(fake: Fake, verb: str) -> None:
    started(fake)

    assert said(fake, verb) == {"action": verb}


def test_start_says_only_what_was_given(fake: Fake) -> None:
    started(fake)

    options = ("--steps", "1, 5%,50", "--interval", "60", "--mirror-tau", "0.5")
    more = ("--error-ratio", "0.02", "--p95-ratio", "2", "--min-requests", "80")

    assert said(fake, "start", "v2-gemma", *options, *more) == {
        "action": "start",
        "to": "v2-gemma",
        "steps": [1.0, 5.0, 50.0],
        "interval_s": 60.0,
        "error_ratio": 0.02,
        "p95_ratio": 2.0,
        "min_requests": 80,
        "mirror_tau": 0.5,
    }


@pytest.mark.parametrize("steps", ["one", "1,nan", "5,inf%"])
def test_steps_that_are_no_percents_are_2_with_a_hint(fake: Fake, steps: str) -> None:
    started(fake)

    assert fake.command("rollout", "start", "v2", "--steps", steps) == Done(
        2,
        [],
        [
            f"error: --steps: '{steps}': give percents, such as 1,5,25,50,100",
            "hint: rerank-server rollout start --help",
        ],
    )


@pytest.mark.parametrize("option", ["--interval", "--error-ratio", "--p95-ratio", "--mirror-tau"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_no_number_is_2_with_a_hint(fake: Fake, option: str, value: str) -> None:
    started(fake)

    assert fake.command("rollout", "start", "v2", option, value) == Done(
        2,
        [],
        [
            f"error: {option}: {value} is no number here",
            "hint: rerank-server rollout start --help",
        ],
    )


@pytest.mark.parametrize("verb", ["start", "status", "pause", "resume", "abort", "promote"])
def test_without_a_server_it_is_4(fake: Fake, verb: str) -> None:
    done = fake.command("rollout", verb)

    assert (done.code, done.out) == (4, [])
