from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rerank_server.cli.events import line
from rerank_server.cli.tail import Tail
from rerank_server.supervisor.rotation import rotate
from rerank_server.supervisor.rundir import StateDir, prepare_state_dir
from tests.cli.conftest import Done, finished, program
from tests.core.state_json import state as served
from tests.core.state_json import version


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path / "state")
    prepare_state_dir(state)
    return state


def verb(state: StateDir, *words: str) -> Done:
    return finished(command(state, *words))


def command(state: StateDir, *words: str) -> list[str]:
    places = ("--state-dir", str(state.path), "--run-dir", str(state.path.parent / "run"))
    return program(*words, *places)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@contextmanager
def following(state: StateDir, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a verb that does not end by itself."""
    with subprocess.Popen(
        command(state, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read(process: subprocess.Popen[str]) -> str:
    """Return the next line; the test's own time limit is the deadline."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


# --- logs -----------------------------------------------------------------------------------


def test_the_last_lines_of_every_log_come_under_their_names(state: StateDir) -> None:
    for name in ("v2-m3", "v1", "gateway", "supervisor"):
        state.log(name).write_text("".join(f"{name} {number}\n" for number in range(5)))

    assert verb(state, "logs", "-n", "2") == Done(
        0,
        [
            *("==> gateway <==", "gateway 3", "gateway 4", ""),
            *("==> supervisor <==", "supervisor 3", "supervisor 4", ""),
            *("==> v1 <==", "v1 3", "v1 4", ""),
            *("==> v2-m3 <==", "v2-m3 3", "v2-m3 4"),
        ],
        [],
    )


def test_one_log_comes_alone_and_50_lines_of_it(state: StateDir) -> None:
    state.log("v1").write_text("".join(f"{number}\n" for number in range(200)))

    assert verb(state, "logs", "v1").out == [str(number) for number in range(150, 200)]


def test_a_cascade_has_no_log_and_its_stages_are_named(state: StateDir) -> None:
    stages = [{"version": "v1", "keep": 2}, {"version": "v2", "keep": None}]
    (state.path.parent / "run").mkdir()
    told = json.dumps(served(version("v2-fast", "RUNNING") | {"cascade": stages}))
    (state.path.parent / "run" / "state.json").write_text(told)

    done = verb(state, "logs", "v2-fast")

    said = "error: no log of 'v2-fast': it is a cascade and has no process of its own"
    assert (done.code, done.err) == (2, [said, "hint: name one of its stages: v1, v2"])


def test_a_log_that_is_not_there_is_a_usage_error_with_those_that_are(state: StateDir) -> None:
    assert verb(state, "logs", "v1").err == [
        f"error: no logs in {state.logs}",
        "hint: name another place with --state-dir",
    ]
    state.log("v2-m3").touch()

    near = verb(state, "logs", "v2-m4")
    far = verb(state, "logs", "../events")

    assert (near.code, near.err[1]) == (2, "hint: did you mean 'v2-m3'?")
    assert (far.code, far.err[1]) == (2, "hint: there are: v2-m3")


def test_following_goes_on_across_a_rotation(state: StateDir) -> None:
    log = state.log("v1")
    log.write_text("before\n")

    with following(state, "logs", "-f", "v1") as process:
        assert read(process) == "before"
        append(log, "one\n")
        assert read(process) == "one"
        append(log, "written last\n")
        rotate(log, 16)
        append(log, "two\n")

        assert [read(process), read(process)] == ["written last", "two"]


def test_following_all_logs_takes_in_one_that_appears(state: StateDir) -> None:
    state.log("gateway").write_text("served\n")

    with following(state, "logs", "-f") as process:
        assert [read(process), read(process)] == ["==> gateway <==", "served"]
        state.log("v1").write_text("loaded\n")
        assert [read(process) for _ in range(3)] == ["", "==> v1 <==", "loaded"]
        append(state.log("v1"), "again\n")
        assert read(process) == "again"


def test_ctrl_c_ends_following_without_a_word(state: StateDir) -> None:
    state.log("v1").write_text("loaded\n")

    with following(state, "logs", "-f", "v1") as process:
        assert read(process) == "loaded"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)

    assert (process.returncode, out, err) == (130, "", "")


# --- the tail -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        ("", 3, ""),
        ("a\nb\nc\n", 0, ""),
        ("a\nb\nc\n", 2, "b\nc\n"),
        ("a\nb\nc", 2, "b\nc"),
        ("a\n", 5, "a\n"),
        ("x" * 200_000 + "\n" + "y\n" * 3, 3, "y\ny\ny\n"),
        ("y\n" * 100_000, 70_000, "y\n" * 70_000),
    ],
)
def test_the_last_lines_of_a_text(tmp_path: Path, text: str, lines: int, expected: str) -> None:
    log = tmp_path / "v1.log"
    log.write_text(text)

    assert Tail(log).last(lines).decode() == expected


def test_the_part_before_a_rotation_makes_up_for_lines_that_lack(tmp_path: Path) -> None:
    log = tmp_path / "v1.log"
    log.write_text("a\nb\nc\n")
    rotate(log, 4)
    append(log, "d\n")

    tail = Tail(log)

    assert tail.last(3) == b"b\nc\nd\n"
    assert tail.more() == b""


def test_a_log_replaced_by_another_file_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "v1.log"
    log.write_text("a\n")
    tail = Tail(log)
    assert tail.more() == b"a\n"
    append(log, "b\n")
    log.rename(tmp_path / "v1.log.1")
    assert tail.more() == b""

    log.write_text("a longer line\n")

    assert tail.more() == b"b\na longer line\n"


# --- events ---------------------------------------------------------------------------------

AT = 1_795_000_000.0


@pytest.fixture
def utc() -> Iterator[None]:
    kept = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    os.environ.pop("TZ") if kept is None else os.environ.__setitem__("TZ", kept)
    time.tzset()


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            {"generation": 2, "actor": "cli pid 7", "version": "v1", "instance": "v1.3",
             "from": "STARTING", "to": "RUNNING", "reason": None},
            "v1.3  STARTING -> RUNNING  (generation 2, cli pid 7)",
        ),
        (
            {"generation": 2, "actor": "SIGHUP", "version": "v1", "instance": "v1.3",
             "from": "STOPPING", "to": None, "reason": None},
            "v1.3  STOPPING -> gone  (generation 2, SIGHUP)",
        ),
        (
            {"generation": 1, "actor": "start", "version": "v1", "instance": None,
             "from": None, "to": "FAILED", "reason": "bad file\nsecond line"},
            "v1  FAILED  (generation 1, start): bad file | second line",
        ),
        (
            {"generation": 1, "actor": "start", "version": "v1", "instance": None,
             "from": "v2", "to": "v1", "reason": "default route"},
            "default  v2 -> v1  (generation 1, start)",
        ),
        ({"event": "stopping", "why": "SIGTERM"}, "server  stopping why=SIGTERM"),
        (
            {"event": "rollout aborted", "version": "v2", "share": 0.0, "before": 5.0,
             "why": "slow", "figures": {"requests": 9}, "guards": []},
            "v2  rollout aborted share=0.0 before=5.0 why=slow",
        ),
        (
            {"event": "config accepted", "generation": 3, "actor": "SIGHUP"},
            "server  config accepted  (generation 3, SIGHUP)",
        ),
    ],
)  # fmt: skip
def test_an_event_is_one_line_for_people(event: dict[str, object], expected: str) -> None:
    assert line(json.dumps({"time": AT, **event})) == f"2026-11-18 11:06:40  {expected}"


@pytest.mark.parametrize("text", ["{", "[]", "plain words"])
def test_a_line_that_is_no_event_is_shown_as_it_is(text: str) -> None:
    assert line(text) == text


def test_events_are_followed_line_by_line(state: StateDir) -> None:
    state.events.write_text('{"time": 1, "event": "server started"}\n')

    with following(state, "events", "-f") as process:
        assert read(process).endswith("  server  server started")
        append(state.events, '{"time": 2, "event": "sto')
        append(state.events, 'pping"}\n')
        assert read(process).endswith("  server  stopping")


def test_no_events_are_no_error(state: StateDir) -> None:
    assert verb(state, "events") == Done(0, [], [])
