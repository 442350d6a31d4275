from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rerank_server.errors import NoAnswerError, NotRunningError, RunDirError
from rerank_server.supervisor import requests
from rerank_server.supervisor.lock import Running, start_ticks, who_runs
from rerank_server.supervisor.requests import Outcome
from rerank_server.supervisor.rundir import RunDir, write_json

ANSWERER = Path(__file__).parent / "answerer.py"
Spawn = Callable[..., "subprocess.Popen[str]"]


def serve(spawn: Spawn, run: RunDir, mode: str) -> Running:
    process = spawn(ANSWERER, run.path, mode)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    running = who_runs(run)
    assert running is not None
    return running


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_each_client_learns_what_came_of_its_own_request(spawn: Spawn, run: RunDir) -> None:
    running = serve(spawn, run, "answer")

    first = requests.send(run, running, "restart", version="v1")
    second = requests.send(run, running, "move", version="v1", device="cpu")
    later = requests.wait_outcome(run, running, second, 10)
    earlier = requests.wait_outcome(run, running, first, 10)

    actor = f"cli pid {os.getpid()}"
    assert earlier.reasons == {"v1": f"restart v1 None by {actor}"}
    assert later == Outcome(
        second.id,
        "applied",
        generation=7,
        started=("v1",),
        stopped=(),
        kept=("v2-m3",),
        reasons={"v1": f"move v1 cpu by {actor}"},
    )
    assert names(run.requests) == names(run.outcomes) == []


def test_a_request_of_root_can_be_read_by_the_user_the_server_runs_as(
    spawn: Spawn, run: RunDir
) -> None:
    running = serve(spawn, run, "ignore")
    umask = os.umask(0o077)
    try:
        request = requests.send(run, running, "reload")
    finally:
        os.umask(umask)

    assert (run.requests / f"{request.id}.json").stat().st_mode & 0o777 == 0o644


def test_what_else_a_verb_says_arrives(spawn: Spawn, run: RunDir) -> None:
    running = serve(spawn, run, "ignore")

    sent = requests.send(run, running, "traffic", said={"shares": {"v2": 5.0}})

    assert requests.pending(run, 1) == (sent,)


def test_a_server_that_does_not_answer_in_time_is_said_so(spawn: Spawn, run: RunDir) -> None:
    running = serve(spawn, run, "ignore")
    request = requests.send(run, running, "reload")

    with pytest.raises(NoAnswerError):
        requests.wait_outcome(run, running, request, 0.1)

    assert names(run.requests) == [f"{request.id}.json"]


def test_a_server_that_ends_before_it_answers_ends_the_wait(spawn: Spawn, run: RunDir) -> None:
    running = serve(spawn, run, "die")
    request = requests.send(run, running, "reload")

    with pytest.raises(NotRunningError, match=f"PID: {running.pid}.* ended before it answered"):
        requests.wait_outcome(run, running, request, 60)


def test_an_answer_given_as_the_servers_last_act_still_arrives(run: RunDir) -> None:
    ended = Running(os.getpid(), (start_ticks(os.getpid()) or 0) - 1)
    request = requests.Request("1-1", "reload", "test")
    requests.answer(run, Outcome("1-1", "failed", 3, error="why"))

    assert requests.wait_outcome(run, ended, request, 0).error == "why"


def test_a_request_to_a_server_that_is_gone_is_taken_back(run: RunDir) -> None:
    ended = Running(os.getpid(), (start_ticks(os.getpid()) or 0) - 1)

    with pytest.raises(NotRunningError):
        requests.send(run, ended, "reload")

    assert names(run.requests) == []


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", "not JSON"),
        ('{"verb": "explode"}', "verb: 'explode' is none of reload, plan, reset, move, restart,"),
        ('{"verb": "reset", "version": 3}', "version: 3 is not a string"),
        ('{"verb": "move", "version": "v1", "device": []}', "device: [] is not a string"),
        ('{"verb": "traffic", "said": 5}', "said: 5 is not an object"),
    ],
)
def test_a_file_that_is_no_request_is_answered_refused(
    run: RunDir, content: str, error: str
) -> None:
    (run.requests / "5-1.json").write_text(content)

    assert requests.pending(run, 9) == ()

    request = requests.Request("5-1", "reload", "test")
    nobody = Running(os.getpid(), start_ticks(os.getpid()) or 0)
    outcome = requests.wait_outcome(run, nobody, request, 0)
    assert (outcome.verdict, outcome.generation) == ("refused", 9)
    assert outcome.error is not None
    assert error in outcome.error
    assert names(run.requests) == []


def test_requests_come_oldest_first_and_half_written_ones_not_at_all(run: RunDir) -> None:
    for name in ("30-1", "10-9", ".20-1"):
        write_json(run.requests / f"{name}.json", {"verb": "reload", "actor": "a"})

    assert [request.id for request in requests.pending(run, 1)] == ["10-9", "30-1"]


def test_outcomes_nobody_took_away_do_not_pile_up(run: RunDir) -> None:
    for number in range(100, 300):
        requests.answer(run, Outcome(f"{number}-1", "applied", 1))

    kept = names(run.outcomes)
    assert (len(kept), kept[-1]) == (64, "299-1.json")


def test_a_new_server_forgets_what_was_asked_of_the_old_one(run: RunDir) -> None:
    write_json(run.requests / "1-1.json", {"verb": "reload"})
    requests.answer(run, Outcome("2-1", "applied", 1))

    requests.clear(run)

    assert names(run.requests) == names(run.outcomes) == []


@pytest.mark.parametrize(
    "content",
    [{"verdict": "maybe", "generation": 1}, {"verdict": "applied"}, {}],
)
def test_an_outcome_of_another_release_is_refused_with_its_file(
    run: RunDir, content: dict[str, object]
) -> None:
    own = Running(os.getpid(), start_ticks(os.getpid()) or 0)
    (run.outcomes / "1-1.json").write_text(json.dumps(content))

    with pytest.raises(RunDirError, match=r"outcomes/1-1\.json: not an outcome of this release"):
        requests.wait_outcome(run, own, requests.Request("1-1", "reload", "test"), 0)


def test_reasons_that_are_no_object_are_refused(run: RunDir) -> None:
    own = Running(os.getpid(), start_ticks(os.getpid()) or 0)
    content = {"verdict": "applied", "generation": 1, "reasons": [1]}
    (run.outcomes / "1-1.json").write_text(json.dumps(content))

    with pytest.raises(RunDirError, match="reasons: not an object"):
        requests.wait_outcome(run, own, requests.Request("1-1", "reload", "test"), 0)
